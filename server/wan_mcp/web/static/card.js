import "./buttons.js";
import { icon, make, tell } from "./dom.js";
import { bytesWords, fileName } from "./words.js";

/** The size and weight of a picture in a few words; `picture` as `<wan-card>` takes it. */
export function pictureFacts(picture) {
  const size = picture.width && picture.height ? `${picture.width} × ${picture.height}` : null;
  return [size, picture.bytes ? bytesWords(picture.bytes) : null].filter(Boolean).join(" · ");
}

/**
 * `<wan-card>`: one image. Set `picture = {index, description, path, width, height, bytes, src, note}`. With `src`
 * (a data: or page address) it is shown, and a press on it tells `wan-open`; with `note` the words stand in its
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
    const aspect = picture.width && picture.height ? picture.width / picture.height : picture.aspect ?? 1;
    this.style.setProperty("--aspect", String(Math.min(4, Math.max(0.25, aspect))));
    this.dataset.state = picture.src ? "ready" : picture.note === undefined ? "free" : "words";
    this.replaceChildren(make("figure", {}, this.#frame(), this.#caption()));
  }

  #frame() {
    const { src, note, description, index, busy, lazy } = this.#picture;
    if (src) {
      const image = make("img", { src, alt: description ?? `Image ${index}`, decoding: "async", loading: lazy ? "lazy" : null });
      const open = make("span", { class: "open" }, icon("larger"), make("span", { class: "unseen" }, "Open larger"));
      return make("button", { type: "button", class: "frame", onclick: () => tell(this, "open", { index }) }, image, open);
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
    const facts = make("span", { class: "facts" }, pictureFacts(this.#picture));
    return make("figcaption", { "data-index": index }, make("span", { class: "about" }, name, facts), copy);
  }
}

customElements.define("wan-card", WanCard);
