import { emit, make, makeIcon } from "./dom.js";

const COPIED_MILLISECONDS = 2000;
const SELECTED_MILLISECONDS = 10_000;
const LONGEST_TITLE = 160;
const COPY_KEYS = /^(?:Mac|iP)/.test(navigator.platform) ? "⌘C" : "Ctrl+C";

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A frame may be denied the clipboard; the older way asks nobody as long as a person has just pressed.
    const field = make("textarea", { readonly: true, class: "visually-hidden", "aria-hidden": "true", tabindex: "-1" });
    field.value = text;
    const focused = document.activeElement;
    (focused?.closest("dialog") ?? document.body).append(field);
    field.select();
    const copied = document.execCommand?.("copy") ?? false;
    field.remove();
    focused?.focus({ preventScroll: true });
    return copied;
  }
}

/** Select what an element shows; false if it shows nothing. */
function selectText(element) {
  if (!element?.checkVisibility()) return false;
  getSelection().selectAllChildren(element);
  return true;
}

/**
 * `<wan-copy>`: a button that copies `text`, a path or a prompt; `label` names it. Where the browser allows no copying,
 * it selects the text in the element that `findSource()` gives, for a person to copy by the keyboard.
 */
export class WanCopy extends HTMLElement {
  #name = make("span", { class: "label" });
  #announcement = make("span", { class: "visually-hidden", role: "status" });
  #mark = make("span", { class: "mark" }, makeIcon("copy"));
  #button = make("button", { type: "button", class: "plain", onclick: () => this.#copy() }, this.#mark, this.#name);
  #label = "Copy path";
  #timer = 0;
  text = "";
  findSource = () => null;

  connectedCallback() {
    this.replaceChildren(this.#button, this.#announcement);
    this.#show("copy", this.#label);
  }

  set label(label) {
    this.#label = label;
    this.#show("copy", label);
  }

  async #copy() {
    if (await copyText(this.text)) this.#tell("done", "Copied", "Copied", COPIED_MILLISECONDS);
    else if (selectText(this.findSource())) this.#tell("copy", `Press ${COPY_KEYS}`, `The text is selected: press ${COPY_KEYS} to copy it.`, SELECTED_MILLISECONDS);
    else this.#tell("copy", "Not allowed to copy", "The browser does not allow copying here.", COPIED_MILLISECONDS);
  }

  /** Show for a while what came of a press, and say it to those who cannot see it. */
  #tell(mark, label, announcement, milliseconds) {
    clearTimeout(this.#timer);
    this.#show(mark, label);
    this.#announcement.textContent = announcement;
    this.toggleAttribute("telling", true);
    this.#timer = setTimeout(() => {
      this.toggleAttribute("telling", false);
      this.#show("copy", this.#label);
      this.#announcement.textContent = "";
    }, milliseconds);
  }

  #show(mark, label) {
    this.#mark.replaceChildren(makeIcon(mark));
    this.#name.textContent = label;
    const text = this.text.length > LONGEST_TITLE ? `${this.text.slice(0, LONGEST_TITLE)}…` : this.text;
    this.#button.title = `${label}: ${text}`;
  }
}

/**
 * `<wan-confirm>`: a button for what costs money. Set `action = {name, label, question, confirm}`: the first press asks
 * the question, only a second one, on another button, dispatches `wan-confirm` with the name. Without a question one
 * press is enough.
 */
export class WanConfirm extends HTMLElement {
  #action = null;

  get action() {
    return this.#action;
  }

  set action(action) {
    if (JSON.stringify(action) === JSON.stringify(this.#action)) return;
    this.#action = action;
    this.#showButton();
  }

  #showButton() {
    const ask = () => (this.#action.question ? this.#showQuestion() : emit(this, "confirm", { name: this.#action.name }));
    this.toggleAttribute("asking", false);
    this.replaceChildren(make("button", { type: "button", onclick: ask }, this.#action.label));
  }

  #showQuestion() {
    const decide = (agreed) => (event) => {
      // The second half of a double click is no second thought.
      if (agreed && event.detail > 1) return;
      this.#showButton();
      this.firstElementChild.focus();
      if (agreed) emit(this, "confirm", { name: this.#action.name });
    };
    const question = make("p", { id: `question-${crypto.getRandomValues(new Uint32Array(1))[0]}` }, this.#action.question);
    const yes = make("button", { type: "button", class: "strong", "aria-describedby": question.id, onclick: decide(true) }, this.#action.confirm);
    const no = make("button", { type: "button", onclick: decide(false) }, "Cancel");
    const group = make("div", { class: "question", role: "group", "aria-label": this.#action.label }, question, make("div", { class: "row" }, yes, no));
    group.addEventListener("keydown", (event) => {
      // Nor is a key that is still held since the first press.
      if (event.repeat) event.preventDefault();
      if (event.key !== "Escape") return;
      // Only the question is closed, not also the dialog that it may stand in.
      event.preventDefault();
      decide(false)(event);
    });
    this.toggleAttribute("asking", true);
    this.replaceChildren(group);
    yes.focus();
  }
}

customElements.define("wan-copy", WanCopy);
customElements.define("wan-confirm", WanConfirm);
