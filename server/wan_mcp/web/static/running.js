import { make } from "./dom.js";
import "./order.js";
import { cancelOf, picturesOf, shortPrompt, statusOf } from "./pictures.js";
import { cancelOrder } from "./site.js";
import { aspectOf } from "./words.js";

/** The part of the page with the orders that go on. */
export class Running {
  #section;
  #list;
  #show;
  #changed;
  #shown = new Map();
  #refusals = new Map();

  /** `show(entry, index)` opens an image of an order, and `changed()` is called when a press has changed one. */
  constructor(section, { show, changed }) {
    this.#section = section;
    this.#list = section.querySelector(".running-orders");
    this.#show = show;
    this.#changed = changed;
  }

  get isEmpty() {
    return !this.#shown.size;
  }

  show(entries) {
    const ids = new Set(entries.map((entry) => entry.id));
    for (const [id, element] of this.#shown) {
      if (ids.has(id)) continue;
      element.remove();
      this.#shown.delete(id);
      this.#refusals.delete(id);
    }
    const elements = entries.map((entry) => this.#draw(entry));
    if (elements.some((element, place) => this.#list.children[place] !== element)) this.#list.replaceChildren(...elements);
    this.#section.hidden = !entries.length;
  }

  #draw(entry) {
    const element = this.#shown.get(entry.id) ?? make("wan-order");
    const { prompt, negative_prompt, model, region, seed, n = 1, size } = entry.order ?? {};
    const status = statusOf(entry);
    const isBusy = status.tone === "busy";
    const saved = picturesOf(entry);
    const places = Array.from({ length: n }, (_, place) => ({ index: place + 1, aspect: aspectOf(size), busy: isBusy }));
    const notes = [...status.notes, this.#refusals.get(entry.id)].filter(Boolean);
    element.order = {
      label: `${shortPrompt(entry) || "Order"}: ${status.text}`,
      settings: { prompt, negative_prompt, model: entry.facts.model ?? model, region: entry.facts.region ?? region, seed, n, size },
      status: { ...status, notes, since: isBusy ? entry.created_at * 1000 : null },
      pictures: saved.length ? saved.map((picture) => ({ ...picture, path: null })) : places,
      offers: cancelOf(entry),
    };
    if (!this.#shown.has(entry.id)) {
      element.addEventListener("wan-open", (event) => this.#show(entry, event.detail.index));
      element.addEventListener("wan-choose", () => this.#cancel(entry.id));
      this.#shown.set(entry.id, element);
    }
    return element;
  }

  async #cancel(id) {
    this.#refusals.delete(id);
    try {
      await cancelOrder(id);
    } catch (error) {
      this.#refusals.set(id, error.said);
    }
    this.#changed();
  }
}
