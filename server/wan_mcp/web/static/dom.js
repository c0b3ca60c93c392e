// Elements from data. Text is only ever set as text: prompts and paths are other people's words.

/** Make an element; `attributes` that are false, null or undefined are left out, functions named `on…` listen. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SHAPES = {
  copy: ["M5.5 5.5V3.2c0-.7.5-1.2 1.2-1.2h6.1c.7 0 1.2.5 1.2 1.2v6.1c0 .7-.5 1.2-1.2 1.2h-2.3", "M3.2 5.5h6.1c.7 0 1.2.5 1.2 1.2v6.1c0 .7-.5 1.2-1.2 1.2H3.2c-.7 0-1.2-.5-1.2-1.2V6.7c0-.7.5-1.2 1.2-1.2z"],
  done: ["M3 8.5l3.2 3.2L13 4.8"],
  larger: ["M9.5 2.5h4v4", "M13.5 2.5l-5 5", "M6.5 13.5h-4v-4", "M2.5 13.5l5-5"],
  close: ["M3.5 3.5l9 9", "M12.5 3.5l-9 9"],
  back: ["M10 3L5 8l5 5"],
  forward: ["M6 3l5 5-5 5"],
};

/** Make one of a few small icons; it is decoration, the text beside it is the name. */
export function makeIcon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" })) {
    drawing.setAttribute(key, value);
  }
  for (const shape of SHAPES[name]) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", shape);
    drawing.append(path);
  }
  return drawing;
}

/** Dispatch an event that bubbles from an element: events of these pages start with `wan-`. */
export function emit(element, name, detail = {}) {
  element.dispatchEvent(new CustomEvent(`wan-${name}`, { bubbles: true, detail }));
}
