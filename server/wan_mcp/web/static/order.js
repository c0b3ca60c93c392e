import "./card.js";
import { make, tell } from "./dom.js";
import "./prompt.js";
import "./status.js";

/**
 * `<wan-order>`: an order with its images. Set `order = {label, settings, status, pictures, offers}`, each part as
 * its own element takes it. Passes on `wan-open` of its images, and tells `wan-choose` with the name of an offer.
 */
export class WanOrder extends HTMLElement {
  #pictures = make("div", { class: "pictures" });
  #prompt = make("wan-prompt");
  #status = make("wan-status");
  #offers = make("div", { class: "row offers" });
  #article = make(
    "article",
    { class: "order", tabindex: "-1" },
    this.#pictures,
    make("div", { class: "side" }, this.#status, this.#prompt, this.#offers),
  );

  connectedCallback() {
    this.replaceChildren(this.#article);
    this.#offers.addEventListener("wan-confirm", (event) => tell(this, "choose", event.detail));
  }

  focus() {
    this.#article.focus();
  }

  set order({ label, settings = {}, status, pictures = [], offers = [] }) {
    this.#article.setAttribute("aria-label", label);
    this.#prompt.settings = settings;
    this.#status.status = status;
    this.#showPictures(pictures);
    this.#showOffers(offers);
  }

  #showPictures(pictures) {
    const cards = [...this.#pictures.children];
    for (const card of cards.slice(pictures.length)) card.remove();
    for (const [place, picture] of pictures.entries()) {
      const card = cards[place] ?? this.#pictures.appendChild(make("wan-card"));
      card.picture = picture;
    }
    const first = pictures[0];
    const aspect = first?.width && first.height ? first.width / first.height : first?.aspect ?? 1;
    this.#article.style.setProperty("--aspect", String(Math.min(4, Math.max(0.25, aspect))));
    this.#pictures.hidden = !pictures.length;
    this.#pictures.dataset.count = String(pictures.length);
    this.#article.toggleAttribute("bare", !pictures.some((picture) => picture.src || picture.note === undefined));
  }

  #showOffers(offers) {
    const shown = new Map([...this.#offers.children].map((button) => [button.offer.name, button]));
    const names = new Set(offers.map((offer) => offer.name));
    for (const [name, button] of shown) if (!names.has(name)) button.remove();
    for (const offer of offers) {
      const button = shown.get(offer.name) ?? this.#offers.appendChild(make("wan-confirm"));
      button.offer = offer;
    }
    this.#offers.hidden = !offers.length;
  }
}

customElements.define("wan-order", WanOrder);
