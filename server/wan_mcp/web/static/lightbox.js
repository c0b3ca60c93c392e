import "./buttons.js";
import { emit, make, makeIcon } from "./dom.js";
import { formatPictureSize } from "./order.js";

/**
 * `<wan-lightbox>`: pictures one at a time, as large as the window. `show(pictures, index)` opens it on the picture
 * with this index; arrow keys and buttons go to the next one, Escape closes, and the focus goes back where it was. A
 * picture may have a `full` address beside `src`, and `makeDetails()`, which makes what stands beside it; with that, it
 * needs no `src` but may have a `note`, and `explain()` says why one cannot be shown. Without a `path` it may have a
 * `name`, and an address to `download` it from. Dispatches `wan-opened`,
 * `wan-moved` with how many pictures are left behind this one, and `wan-closed`.
 */
export class WanLightbox extends HTMLElement {
  #pictures = [];
  #position = 0;
  #image = make("img", { alt: "" });
  #note = make("p", { class: "note", hidden: true });
  #details = make("div", { class: "side-panel", role: "group", "aria-label": "Details", hidden: true });
  #title = make("p", { class: "title", role: "status", dir: "auto" });
  #size = make("p", { class: "facts" });
  #path = make("p", { class: "path" });
  #copy = make("wan-copy");
  #download = make("a", { class: "download", hidden: true }, "Download");
  #back = make("button", { type: "button", class: "step", "aria-label": "Previous image", onclick: () => this.#step(-1) }, makeIcon("back"));
  #forward = make("button", { type: "button", class: "step", "aria-label": "Next image", onclick: () => this.#step(1) }, makeIcon("forward"));
  #close = make("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => this.#dialog.close() }, makeIcon("close"));
  #dialog = make(
    "dialog",
    { class: "lightbox", "aria-label": "Image" },
    make("header", {}, this.#title, this.#close),
    make("div", { class: "image-area" }, this.#back, this.#image, this.#note, this.#forward),
    make("footer", {}, make("div", { class: "about" }, this.#path, this.#size), this.#copy, this.#download),
    this.#details,
  );

  connectedCallback() {
    this.replaceChildren(this.#dialog);
    this.#dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#step(step);
    });
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#image.addEventListener("error", () => {
      if (this.#image.hasAttribute("src")) this.#explain(this.#pictures[this.#position]);
    });
    this.#dialog.addEventListener("close", () => {
      this.#image.removeAttribute("src");
      this.#details.replaceChildren();
      emit(this, "closed");
    });
  }

  show(pictures, index) {
    this.#pictures = pictures.filter((picture) => picture.src || picture.makeDetails);
    this.#position = Math.max(0, this.#pictures.findIndex((picture) => picture.index === index));
    if (!this.#pictures.length || this.#dialog.open) return;
    this.#render();
    this.#dialog.showModal();
    this.#close.focus();
    emit(this, "opened");
  }

  /** Go on with other pictures behind those that are here; they are made only if it is open. */
  extend(makePictures) {
    if (!this.#dialog.open) return;
    const pictures = makePictures();
    const known = new Set(this.#pictures.map((picture) => picture.index));
    this.#pictures.push(...pictures.filter((picture) => (picture.src || picture.makeDetails) && !known.has(picture.index)));
    this.#updateButtons();
  }

  close() {
    this.#dialog.close();
  }

  #step(step) {
    const position = this.#position + step;
    if (position < 0 || position >= this.#pictures.length) return;
    this.#position = position;
    this.#render();
    // A button that has just been switched off would lose the focus to nowhere.
    if (document.activeElement?.disabled ?? true) (step < 0 ? this.#forward : this.#back).focus();
  }

  #render() {
    const picture = this.#pictures[this.#position];
    this.#image.removeAttribute("src");
    // The details have the prompt already: it is read out, and not shown twice.
    this.#title.classList.toggle("visually-hidden", Boolean(picture.makeDetails));
    this.#image.alt = this.#title.textContent = picture.description ?? `Image ${picture.index}`;
    if (picture.src) {
      this.#showNote("");
      this.#image.src = picture.full ?? picture.src;
    } else this.#showNote(picture.note ?? "");
    this.#size.textContent = [formatPictureSize(picture), picture.remark].filter(Boolean).join(" · ");
    this.#path.textContent = picture.path ?? picture.name ?? "";
    this.#copy.text = picture.path ?? "";
    this.#copy.hidden = !picture.path;
    this.#download.hidden = !picture.download;
    this.#download.href = picture.download ?? "";
    this.#download.download = picture.name ?? "";
    this.#details.replaceChildren(...(picture.makeDetails ? [picture.makeDetails()] : []));
    this.#details.hidden = !picture.makeDetails;
    this.#dialog.toggleAttribute("detailed", Boolean(picture.makeDetails));
    this.#updateButtons();
    emit(this, "moved", { left: this.#pictures.length - 1 - this.#position });
  }

  async #explain(picture) {
    this.#showNote("The file cannot be shown. It may have been moved or deleted.");
    const reason = await picture.explain?.();
    if (reason && picture === this.#pictures[this.#position]) this.#showNote(reason);
  }

  /** Show a text in the place of the image, or the image if there is none. */
  #showNote(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
    this.#image.hidden = Boolean(text);
  }

  #updateButtons() {
    const count = this.#pictures.length;
    for (const button of [this.#back, this.#forward]) button.hidden = count < 2;
    this.#back.disabled = this.#position === 0;
    this.#forward.disabled = this.#position === count - 1;
  }
}

customElements.define("wan-lightbox", WanLightbox);
