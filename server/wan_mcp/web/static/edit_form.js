import { emit, make } from "./dom.js";

const LONGEST = 5000;

/**
 * `<wan-edit>`: a button that opens a place for words, to order a change of an image with. Set `findNote`, which gives
 * what the change costs, as a text or the promise of one, and `indexes` where there are several images to choose from.
 * It dispatches `wan-edit` with the words as `prompt` and the `index`; what was typed stays until `clear()`.
 */
export class WanEdit extends HTMLElement {
  #words = make("textarea", { rows: "3", maxlength: String(LONGEST), dir: "auto", placeholder: "The same, but with a blue door" });
  #images = make("select", {});
  #choice = make("label", { hidden: true }, make("span", {}, "Image"), this.#images);
  #note = make("p", { class: "note", role: "status" });
  #order = make("button", { type: "button", class: "strong", onclick: (event) => this.#ask(event) }, "Order 1 image");
  #toggle = make("button", { type: "button", "aria-expanded": "false", onclick: () => this.#open(this.#form.hidden) }, "Use as input");
  // No form: a host may forbid a frame to send one.
  #form = make(
    "div",
    { class: "question", role: "group", "aria-label": "Use as input", hidden: true },
    this.#choice,
    make("label", {}, make("span", {}, "What to change"), this.#words),
    this.#note,
    make("div", { class: "row" }, this.#order, make("button", { type: "button", onclick: () => this.#open(false) }, "Cancel")),
  );
  findNote = () => "";

  connectedCallback() {
    this.replaceChildren(this.#toggle, this.#form);
    this.#form.addEventListener("keydown", (event) => {
      // The arrows go through the words, and Escape closes these before what is around them.
      event.stopPropagation();
      // A key that is still held since the first press is no second thought.
      if (event.repeat && event.target === this.#order) event.preventDefault();
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.#open(false);
    });
  }

  set indexes(indexes) {
    const shown = [...this.#images.children].map((option) => Number(option.value));
    if (shown.join() === indexes.join()) return;
    this.#images.replaceChildren(...indexes.map((index) => make("option", { value: index }, `Image ${index}`)));
    this.#choice.hidden = indexes.length < 2;
  }

  /** Close, and forget what was typed. */
  clear() {
    this.#words.value = "";
    this.#open(false);
  }

  #ask(event) {
    const prompt = this.#words.value.trim();
    // Nor is the second half of a double click.
    if (event.detail > 1) return;
    if (prompt) emit(this, "edit", { prompt, index: Number(this.#images.value) });
    else this.#words.focus();
  }

  async #open(isOpen) {
    this.#form.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) {
      this.#toggle.focus({ preventScroll: true });
      return;
    }
    this.#words.focus();
    try {
      this.#note.textContent = await this.findNote();
      this.#order.disabled = false;
    } catch (error) {
      this.#note.textContent = error.message;
      this.#order.disabled = true;
    }
  }
}

customElements.define("wan-edit", WanEdit);
