import { cancelOrder } from "./api.js";
import { make } from "./dom.js";
import { parseAspect } from "./format.js";
import { listOpenActions, shortPrompt, toOrderStatus, toPictures } from "./gallery_order.js";
import "./order.js";

/** The part of the gallery's page with the orders that go on. */
export class OpenOrders {
  #section;
  #list;
  #openPicture;
  #changed;
  #elements = new Map();
  #refusals = new Map();

  /** `openPicture(order, index)` shows an image of an order, and `changed()` is called when an order was cancelled. */
  constructor(section, { openPicture, changed }) {
    this.#section = section;
    this.#list = section.querySelector(".running-orders");
    this.#openPicture = openPicture;
    this.#changed = changed;
  }

  get isEmpty() {
    return !this.#elements.size;
  }

  show(orders) {
    const ids = new Set(orders.map((order) => order.id));
    for (const [id, element] of this.#elements) {
      if (ids.has(id)) continue;
      element.remove();
      this.#elements.delete(id);
      this.#refusals.delete(id);
    }
    const elements = orders.map((order) => this.#render(order));
    if (elements.some((element, position) => this.#list.children[position] !== element)) this.#list.replaceChildren(...elements);
    this.#section.hidden = !orders.length;
  }

  #render(order) {
    const element = this.#elements.get(order.id) ?? make("wan-order");
    const { prompt, negative_prompt, model, region, seed, n = 1, size } = order.request ?? {};
    const status = toOrderStatus(order);
    const isBusy = status.tone === "busy";
    const saved = toPictures(order);
    const placeholders = Array.from({ length: n }, (_, position) => ({ index: position + 1, aspect: parseAspect(size), busy: isBusy }));
    const notes = [...status.notes, this.#refusals.get(order.id)].filter(Boolean);
    element.order = {
      label: `${shortPrompt(order) || "Order"}: ${status.text}`,
      settings: { prompt, negative_prompt, model: order.task.model ?? model, region: order.task.region ?? region, seed, n, size },
      status: { ...status, notes, since: isBusy ? order.created_at * 1000 : null },
      pictures: saved.length ? saved.map((picture) => ({ ...picture, path: null })) : placeholders,
      actions: listOpenActions(order),
    };
    if (!this.#elements.has(order.id)) {
      element.addEventListener("wan-open", (event) => this.#openPicture(order, event.detail.index));
      element.addEventListener("wan-action", () => this.#cancel(order.id));
      this.#elements.set(order.id, element);
    }
    return element;
  }

  async #cancel(id) {
    this.#refusals.delete(id);
    try {
      await cancelOrder(id);
    } catch (error) {
      this.#refusals.set(id, error.shortMessage);
    }
    this.#changed();
  }
}
