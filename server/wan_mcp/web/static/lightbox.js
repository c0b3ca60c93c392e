import { pictureFacts } from "./card.js";
import { icon, make, tell } from "./dom.js";

/**
 * `<wan-lightbox>`: pictures one at a time, as large as the window. `show(pictures, index)` opens it on the picture
 * with this index; arrow keys and buttons turn pages, Escape closes, and the focus goes back where it was. A picture
 * may have a `full` address beside `src`, and `more()`, which makes what stands beside it; with that, it needs no `src`
 * but may have a `note`, and `why()` gives the words for one that cannot be shown. Tells `wan-opened`, `wan-turned` with how many are left behind this one, and `wan-closed`.
 */
export class WanLightbox extends HTMLElement {
  #pictures = [];
  #at = 0;
  #image = make("img", { alt: "" });
  #note = make("p", { class: "note", hidden: true });
  #beside = make("div", { class: "beside", role: "group", "aria-label": "Details", hidden: true });
  #title = make("p", { class: "title", role: "status", dir: "auto" });
  #facts = make("p", { class: "facts" });
  #path = make("p", { class: "path" });
  #copy = make("wan-copy");
  #back = make("button", { type: "button", class: "turn", "aria-label": "Previous image", onclick: () => this.#turn(-1) }, icon("back"));
  #forward = make("button", { type: "button", class: "turn", "aria-label": "Next image", onclick: () => this.#turn(1) }, icon("forward"));
  #close = make("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => this.#dialog.close() }, icon("close"));
  #dialog = make(
    "dialog",
    { class: "lightbox", "aria-label": "Image" },
    make("header", {}, this.#title, this.#close),
    make("div", { class: "stage" }, this.#back, this.#image, this.#note, this.#forward),
    make("footer", {}, make("div", { class: "about" }, this.#path, this.#facts), this.#copy),
    this.#beside,
  );

  connectedCallback() {
    this.replaceChildren(this.#dialog);
    this.#dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#turn(step);
    });
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#image.addEventListener("error", () => {
      if (this.#image.hasAttribute("src")) this.#explain(this.#pictures[this.#at]);
    });
    this.#dialog.addEventListener("close", () => {
      this.#image.removeAttribute("src");
      this.#beside.replaceChildren();
      tell(this, "closed");
    });
  }

  show(pictures, index) {
    this.#pictures = pictures.filter((picture) => picture.src || picture.more);
    this.#at = Math.max(0, this.#pictures.findIndex((picture) => picture.index === index));
    if (!this.#pictures.length || this.#dialog.open) return;
    this.#paint();
    this.#dialog.showModal();
    this.#close.focus();
    tell(this, "opened");
  }

  /** Go on with other pictures behind those that are here; they are made only if it is open. */
  extend(makePictures) {
    if (!this.#dialog.open) return;
    const pictures = makePictures();
    const known = new Set(this.#pictures.map((picture) => picture.index));
    this.#pictures.push(...pictures.filter((picture) => (picture.src || picture.more) && !known.has(picture.index)));
    this.#arrange();
  }

  close() {
    this.#dialog.close();
  }

  #turn(step) {
    const at = this.#at + step;
    if (at < 0 || at >= this.#pictures.length) return;
    this.#at = at;
    this.#paint();
    // A button that has just been switched off would lose the focus to nowhere.
    if (document.activeElement?.disabled ?? true) (step < 0 ? this.#forward : this.#back).focus();
  }

  #paint() {
    const picture = this.#pictures[this.#at];
    this.#image.removeAttribute("src");
    // What is beside it has the words already: they are read out, and not shown twice.
    this.#title.classList.toggle("unseen", Boolean(picture.more));
    this.#image.alt = this.#title.textContent = picture.description ?? `Image ${picture.index}`;
    if (picture.src) {
      this.#say("");
      this.#image.src = picture.full ?? picture.src;
    } else this.#say(picture.note ?? "");
    this.#facts.textContent = [pictureFacts(picture), picture.remark].filter(Boolean).join(" · ");
    this.#path.textContent = picture.path ?? "";
    this.#copy.text = picture.path ?? "";
    this.#copy.hidden = !picture.path;
    this.#beside.replaceChildren(...(picture.more ? [picture.more()] : []));
    this.#beside.hidden = !picture.more;
    this.#dialog.toggleAttribute("detailed", Boolean(picture.more));
    this.#arrange();
    tell(this, "turned", { left: this.#pictures.length - 1 - this.#at });
  }

  async #explain(picture) {
    this.#say("The file cannot be shown. It may have been moved or deleted.");
    const why = await picture.why?.();
    if (why && picture === this.#pictures[this.#at]) this.#say(why);
  }

  /** Show words in the place of the image, or the image if there are none. */
  #say(words) {
    this.#note.textContent = words;
    this.#note.hidden = !words;
    this.#image.hidden = Boolean(words);
  }

  #arrange() {
    const count = this.#pictures.length;
    for (const button of [this.#back, this.#forward]) button.hidden = count < 2;
    this.#back.disabled = this.#at === 0;
    this.#forward.disabled = this.#at === count - 1;
  }
}

customElements.define("wan-lightbox", WanLightbox);
