import { emit, make } from "./dom.js";
import { dayOf, formatDay, formatTime } from "./format.js";
import { makeCopy, shortPrompt, toOrderStatus, toPictures } from "./gallery_order.js";
import "./order.js";

/** `<wan-thumbnails>`: orders as thumbnails, a section for each day, newest first. `wan-open` of an image bubbles. */
export class WanThumbnails extends HTMLElement {
  #orders = [];
  #days = new Map();
  #costs = new Map();

  connectedCallback() {
    // An error of an image does not bubble; it can be captured on its way down.
    this.addEventListener("error", (event) => this.#replaceBroken(event.target), true);
  }

  /** The orders that are shown, newest first. */
  get orders() {
    return this.#orders;
  }

  /** Forget everything. */
  clear() {
    this.#orders = [];
    this.#days.clear();
    this.replaceChildren();
  }

  /** Put orders behind those that are here. */
  extend(orders) {
    const known = new Set(this.#orders.map((order) => order.id));
    const added = orders.filter((order) => !known.has(order.id));
    this.#orders.push(...added);
    for (const [day, ofDay] of Map.groupBy(added, (order) => dayOf(order.created_at))) {
      this.#sectionFor(day).list.append(...ofDay.flatMap((order) => makeCells(order)));
    }
  }

  /** Take the newest orders as they are now: `orders` are all there are down to the last one of them. */
  refresh(orders, isAll) {
    const last = orders.at(-1);
    const known = new Map(this.#orders.map((order) => [order.id, order]));
    const older = isAll ? [] : this.#orders.filter((order) => last && isNewer(last, order));
    if (JSON.stringify(orders) === JSON.stringify(this.#orders.slice(0, this.#orders.length - older.length))) return;
    const kept = new Set([...orders, ...older].map((order) => order.id));
    for (const id of known.keys()) if (!kept.has(id)) this.#remove(id);
    let before = null;
    for (const order of orders) {
      const same = JSON.stringify(known.get(order.id)) === JSON.stringify(order);
      if (!same) {
        const focused = this.contains(document.activeElement) ? document.activeElement.closest("[data-index]")?.dataset.index : null;
        this.#remove(order.id);
        const { list } = this.#sectionFor(dayOf(order.created_at));
        const cells = makeCells(order);
        if (before?.parentElement === list) before.after(...cells);
        else list.prepend(...cells);
        if (focused?.startsWith(`${order.id}/`)) cells[0]?.querySelector("button")?.focus();
      }
      before = [...this.querySelectorAll(`[data-order="${CSS.escape(order.id)}"]`)].at(-1) ?? before;
    }
    this.#orders = [...orders, ...older];
    for (const [day, { section, list }] of this.#days) {
      if (list.children.length) continue;
      section.remove();
      this.#days.delete(day);
    }
  }

  /** Show one order as it is now, in its place; `isAll` says that there are none behind those that are here. */
  place(order, isAll) {
    const newer = this.#orders.filter((other) => other.id !== order.id && isNewer(other, order));
    if (isAll || newer.length < this.#orders.length) this.refresh([...newer, order], false);
  }

  /** Say beside each day what its images cost: rows of a day and a cost. */
  set costs(rows) {
    this.#costs = new Map(rows.map((row) => [row.name, row]));
    for (const day of this.#days.keys()) this.#showCost(day);
  }

  /** Name the days as they are called now: at midnight today becomes yesterday. */
  nameDays() {
    for (const [day, { heading }] of this.#days) {
      const name = formatDay(day);
      if (heading.textContent !== name) heading.textContent = name;
    }
  }

  #sectionFor(day) {
    const there = this.#days.get(day);
    if (there) return there;
    const heading = make("h2", { id: `day-${day}` }, formatDay(day));
    const cost = make("p", { class: "day-cost" });
    const list = make("ul", { class: "cells" });
    const section = make("section", { class: "day", "aria-labelledby": heading.id }, make("header", {}, heading, cost), list);
    const later = [...this.#days.keys()].filter((other) => other < day).sort().at(-1);
    if (later) this.#days.get(later).section.before(section);
    else this.append(section);
    this.#days.set(day, { section, heading, list, cost });
    this.#showCost(day);
    return this.#days.get(day);
  }

  #showCost(day) {
    const row = this.#costs.get(day);
    this.#days.get(day).cost.textContent = row ? (row.cost.is_estimate ? `about ${row.cost.amount}` : row.cost.amount) : "";
  }

  #remove(id) {
    for (const cell of this.querySelectorAll(`[data-order="${CSS.escape(id)}"]`)) cell.remove();
  }

  async #replaceBroken(image) {
    const card = image.closest?.("wan-card");
    if (!card) return;
    const { index, explain } = card.picture;
    const status = { tone: "quiet", text: "Cannot be shown", notes: [] };
    const note = makeNote(status, index);
    card.replaceWith(note);
    const reason = await explain?.();
    if (reason) note.querySelector("wan-status").status = { ...status, notes: [reason] };
  }
}

function isNewer(one, other) {
  return one.created_at > other.created_at || (one.created_at === other.created_at && one.id > other.id);
}

/** One cell for each image of an order, or one with its status if it has none. */
function makeCells(order) {
  const pictures = toPictures(order);
  const prompt = (order.request?.prompt ?? "").trim();
  const line = (position) => make("p", { class: "cell-facts" }, [order.task.model, formatTime(order.created_at), position].filter(Boolean).join(" · "));
  const cell = (index, content, position) =>
    make("li", { class: "cell", "data-order": order.id, "data-index": index }, content, makeCaption(prompt, shortPrompt(order), content.tagName === "WAN-CARD", line(position)));
  if (!pictures.length) {
    const index = `${order.id}/0`;
    return [cell(index, makeNote(toOrderStatus(order), index))];
  }
  return pictures.map((picture, position) => {
    const card = make("wan-card");
    card.picture = { ...picture, path: null };
    return cell(picture.index, card, pictures.length > 1 ? `${position + 1} of ${pictures.length}` : null);
  });
}

/** What stands below an image: its prompt, cut to some lines with a button for the rest, some facts, and a button to copy it. */
function makeCaption(prompt, short, isNamed, facts) {
  const words = make("wan-prompt");
  words.settings = { prompt: prompt || "Prompt not known" };
  // The image itself is named by the prompt, as far as it is short: it is not read out twice.
  if (isNamed && !short.endsWith("…")) words.textElement.setAttribute("aria-hidden", "true");
  return make("div", { class: "caption" }, words, make("div", { class: "caption-end" }, facts, prompt && makeCopy("Copy prompt", prompt, words.textElement)));
}

function makeNote({ tone, text, notes }, index) {
  const status = make("wan-status", { still: true });
  status.status = { tone, text, notes: notes.slice(0, 1) };
  const open = (event) => emit(event.currentTarget, "open", { index });
  return make("div", { class: "cell-note" }, status, make("button", { type: "button", class: "plain", onclick: open }, "Details"));
}

customElements.define("wan-thumbnails", WanThumbnails);
