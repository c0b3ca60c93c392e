// The elements that show an order: how it stands, what was ordered, and its images.

import "./buttons.js";
import { emit, make, makeIcon } from "./dom.js";
import "./edit_form.js";
import { fileName, formatBytes, formatSeconds, formatSize } from "./format.js";

/**
 * `<wan-status>`: how something stands. Set `status = {tone, text, notes, since}`: a tone (`busy`, `done`, `quiet` or
 * `trouble`), a short text, what else to know, and the time, in milliseconds of the clock, from which seconds are
 * counted. A change of the text is read out; the seconds are not. With the attribute `still` nothing is.
 */
export class WanStatus extends HTMLElement {
  #text = make("span", { class: "status-text" });
  #clock = make("span", { class: "status-clock", "aria-hidden": "true" });
  #notes = make("div", { class: "status-notes" });
  #live = make("div", { class: "status-live", role: "status" }, make("p", { class: "status-line" }, this.#text, this.#clock), this.#notes);
  #timer = 0;
  #since = null;

  connectedCallback() {
    if (this.hasAttribute("still")) this.#live.removeAttribute("role");
    this.replaceChildren(this.#live);
    this.#startClock();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  set status({ tone, text, notes = [], since = null }) {
    this.dataset.tone = tone;
    if (this.#text.textContent !== text) this.#text.textContent = text;
    const shown = [...this.#notes.children].map((note) => note.textContent);
    if (shown.join("\n") !== notes.join("\n")) this.#notes.replaceChildren(...notes.map((note) => make("p", {}, note)));
    this.#since = since;
    this.#startClock();
  }

  #startClock() {
    clearInterval(this.#timer);
    const show = () => {
      this.#clock.textContent = this.#since === null ? "" : formatSeconds((Date.now() - this.#since) / 1000);
    };
    show();
    if (this.#since !== null && this.isConnected) this.#timer = setInterval(show, 1000);
  }
}

customElements.define("wan-status", WanStatus);

/** An input picture in short: the name of a file, an earlier image, or the host of a web address. */
function nameReference(reference) {
  const text = String(reference);
  return URL.canParse(text) && /^https?:/i.test(text) ? new URL(text).host : fileName(text);
}

/** The settings of an order in short: pairs of a name, for those who cannot see the line, and a text. */
function listSettings({ size, n, model, region, seed, images }) {
  return [
    ["Size", size ? formatSize(size) : null],
    ["Images", n > 1 ? `${n} images` : null],
    ["Model", model],
    ["Region", region],
    ["Made from", images?.length ? `from ${images.map(nameReference).join(", ")}` : null],
    ["Seed", seed === undefined || seed === null ? null : `seed ${seed}`],
  ].filter(([, text]) => text);
}

/** All prompts at once: what is measured of one must not wait for what was changed of another. */
const promptResizes = new ResizeObserver((entries) => {
  const prompts = [...new Set(entries.map(({ target }) => target.closest("wan-prompt")).filter(Boolean))];
  const states = prompts.map((prompt) => prompt.isCut);
  for (const [position, prompt] of prompts.entries()) prompt.showToggle(states[position]);
});

/**
 * `<wan-prompt>`: what was ordered. Set `settings = {prompt, negative_prompt, size, n, model, region, seed, images}`; what
 * is absent is left out. A long prompt is cut to some lines, with a button for the rest.
 */
export class WanPrompt extends HTMLElement {
  #key = "";
  #text = make("p", { class: "prompt-text", dir: "auto" });
  #negative = make("p", { class: "prompt-negative", dir: "auto" });
  #toggleButton = make("button", { type: "button", class: "plain more", hidden: true, "aria-expanded": "false", onclick: () => this.#toggle() }, "Show all");
  #settings = make("dl", { class: "prompt-settings" });

  connectedCallback() {
    this.replaceChildren(this.#text, this.#negative, this.#toggleButton, this.#settings);
    for (const each of [this.#text, this.#negative]) promptResizes.observe(each);
  }

  disconnectedCallback() {
    for (const each of [this.#text, this.#negative]) promptResizes.unobserve(each);
  }

  /** The element with the words of the prompt. */
  get textElement() {
    return this.#text;
  }

  set settings(settings) {
    const key = JSON.stringify(settings);
    if (key === this.#key) return;
    this.#key = key;
    this.#text.textContent = settings.prompt ?? "";
    this.#text.hidden = !settings.prompt;
    this.#negative.textContent = settings.negative_prompt ? `Without: ${settings.negative_prompt}` : "";
    this.#negative.hidden = !settings.negative_prompt;
    const shown = listSettings(settings);
    this.#settings.replaceChildren(
      ...shown.map(([name, text]) => make("div", {}, make("dt", { class: "visually-hidden" }, name), make("dd", {}, text))),
    );
    this.#settings.hidden = !shown.length;
    if (this.isConnected) this.showToggle(this.isCut);
  }

  /** Whether some of the words are not to be seen. */
  get isCut() {
    return [this.#text, this.#negative].some((each) => each.scrollHeight > each.clientHeight + 1);
  }

  /** Offer the rest of a prompt that is cut; a prompt that was opened can always be closed. */
  showToggle(isCut) {
    if (!this.hasAttribute("whole")) this.#toggleButton.hidden = !isCut;
  }

  #toggle() {
    const whole = this.toggleAttribute("whole");
    this.#toggleButton.setAttribute("aria-expanded", String(whole));
    this.#toggleButton.textContent = whole ? "Show less" : "Show all";
  }
}

customElements.define("wan-prompt", WanPrompt);

/** The size of a picture in pixels and bytes as text; `picture` as `<wan-card>` takes it. */
export function formatPictureSize(picture) {
  const size = picture.width && picture.height ? `${picture.width} × ${picture.height}` : null;
  return [size, picture.bytes ? formatBytes(picture.bytes) : null].filter(Boolean).join(" · ");
}

/** Width by height of a picture, within bounds, as a style takes it. */
function aspectOf({ width, height, aspect = 1 } = {}) {
  return String(Math.min(4, Math.max(0.25, width && height ? width / height : aspect)));
}

/**
 * `<wan-card>`: one image. Set `picture = {index, description, path, width, height, bytes, src, note}`. With `src`
 * (a data: or page address) it is shown, and a press on it dispatches `wan-open`; with `note` that text stands in its
 * place; with neither it is a place that is kept free, `busy` or not. A `lazy` one is fetched when it comes near.
 */
export class WanCard extends HTMLElement {
  #key = "";
  #picture = {};

  get picture() {
    return this.#picture;
  }

  set picture(picture) {
    this.#picture = picture;
    const key = JSON.stringify({ ...picture, src: picture.src?.length });
    if (key === this.#key) return;
    this.#key = key;
    this.style.setProperty("--aspect", aspectOf(picture));
    this.dataset.state = picture.src ? "ready" : picture.note === undefined ? "free" : "note";
    this.replaceChildren(make("figure", {}, this.#frame(), this.#caption()));
  }

  #frame() {
    const { src, note, description, index, busy, lazy } = this.#picture;
    if (src) {
      const image = make("img", { src, alt: description ?? `Image ${index}`, decoding: "async", loading: lazy ? "lazy" : null });
      const open = make("span", { class: "open" }, makeIcon("larger"), make("span", { class: "visually-hidden" }, "Open larger"));
      return make("button", { type: "button", class: "frame", onclick: () => emit(this, "open", { index }) }, image, open);
    }
    if (note !== undefined) return note ? make("p", { class: "frame note" }, note) : null;
    return make("div", { class: busy ? "frame busy" : "frame", "aria-hidden": "true" });
  }

  #caption() {
    const { path, index, src } = this.#picture;
    if (!path) return null;
    const copy = make("wan-copy");
    copy.text = path;
    copy.label = "Copy path";
    const name = make("span", { class: "name", title: path }, src ? fileName(path) : path);
    const size = make("span", { class: "facts" }, formatPictureSize(this.#picture));
    return make("figcaption", { "data-index": index }, make("span", { class: "about" }, name, size), copy);
  }
}

customElements.define("wan-card", WanCard);

/**
 * `<wan-order>`: an order with its images. Set `order = {label, settings, status, pictures, actions, edit}`, each part
 * as its own element takes it; with `edit = {indexes, note}` an image can be used as input. `wan-open` of its images
 * and `wan-edit` bubble; it dispatches `wan-action` with the name of an action.
 */
export class WanOrder extends HTMLElement {
  #pictures = make("div", { class: "pictures" });
  #prompt = make("wan-prompt");
  #status = make("wan-status");
  #actions = make("div", { class: "row actions" });
  #edit = make("wan-edit", { hidden: true });
  #article = make(
    "article",
    { class: "order", tabindex: "-1" },
    this.#pictures,
    make("div", { class: "side" }, this.#status, this.#prompt, this.#actions, this.#edit),
  );

  connectedCallback() {
    this.replaceChildren(this.#article);
    this.#actions.addEventListener("wan-confirm", (event) => emit(this, "action", event.detail));
  }

  focus() {
    this.#article.focus();
  }

  /** Close the place for a change that has been ordered. */
  clearEdit() {
    this.#edit.clear();
  }

  set order({ label, settings = {}, status, pictures = [], actions = [], edit = null }) {
    this.#article.setAttribute("aria-label", label);
    this.#prompt.settings = settings;
    this.#status.status = status;
    this.#showPictures(pictures);
    this.#showActions(actions);
    this.#edit.hidden = !edit;
    if (!edit) return;
    this.#edit.indexes = edit.indexes;
    this.#edit.findNote = () => edit.note;
  }

  #showPictures(pictures) {
    const cards = [...this.#pictures.children];
    for (const card of cards.slice(pictures.length)) card.remove();
    for (const [place, picture] of pictures.entries()) {
      const card = cards[place] ?? this.#pictures.appendChild(make("wan-card"));
      card.picture = picture;
    }
    this.#article.style.setProperty("--aspect", aspectOf(pictures[0]));
    this.#pictures.hidden = !pictures.length;
    this.#pictures.dataset.count = String(pictures.length);
    this.#article.toggleAttribute("without-images", !pictures.some((picture) => picture.src || picture.note === undefined));
  }

  #showActions(actions) {
    const shown = new Map([...this.#actions.children].map((button) => [button.action.name, button]));
    const names = new Set(actions.map((action) => action.name));
    for (const [name, button] of shown) if (!names.has(name)) button.remove();
    for (const action of actions) {
      const button = shown.get(action.name) ?? this.#actions.appendChild(make("wan-confirm"));
      button.action = action;
    }
    this.#actions.hidden = !actions.length;
  }
}

customElements.define("wan-order", WanOrder);
