import { pictureFacts } from "./card.js";
import { icon, make, tell } from "./dom.js";

/**
 * `<wan-lightbox>`: pictures one at a time, as large as the window. `show(pictures, index)` opens it on the picture
 * with this index; arrow keys and buttons turn pages, Escape closes, and the focus goes back where it was.
 * Tells `wan-opened` and `wan-closed`.
 */
export class WanLightbox extends HTMLElement {
  #pictures = [];
  #at = 0;
  #image = make("img", { alt: "" });
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
    make("div", { class: "stage" }, this.#back, this.#image, this.#forward),
    make("footer", {}, make("div", { class: "about" }, this.#path, this.#facts), this.#copy),
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
    this.#dialog.addEventListener("close", () => {
      this.#image.removeAttribute("src");
      tell(this, "closed");
    });
  }

  show(pictures, index) {
    this.#pictures = pictures.filter((picture) => picture.src);
    this.#at = Math.max(0, this.#pictures.findIndex((picture) => picture.index === index));
    if (!this.#pictures.length || this.#dialog.open) return;
    this.#paint();
    this.#dialog.showModal();
    this.#close.focus();
    tell(this, "opened");
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
    const count = this.#pictures.length;
    this.#image.src = picture.src;
    this.#image.alt = this.#title.textContent = picture.description ?? `Image ${picture.index}`;
    this.#facts.textContent = [pictureFacts(picture), picture.remark].filter(Boolean).join(" · ");
    this.#path.textContent = picture.path ?? "";
    this.#copy.text = picture.path ?? "";
    this.#copy.hidden = !picture.path;
    for (const button of [this.#back, this.#forward]) button.hidden = count < 2;
    this.#back.disabled = this.#at === 0;
    this.#forward.disabled = this.#at === count - 1;
  }
}

customElements.define("wan-lightbox", WanLightbox);
