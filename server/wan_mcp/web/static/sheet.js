import "./card.js";
import { make, tell } from "./dom.js";
import { picturesOf, shortPrompt, statusOf } from "./pictures.js";
import "./status.js";
import { dayOf, dayWords, timeWords } from "./times.js";

/** `<wan-sheet>`: orders as thumbnails, a section for each day, newest first. Tells `wan-show` with what was pressed. */
export class WanSheet extends HTMLElement {
  #entries = [];
  #days = new Map();
  #costs = new Map();

  connectedCallback() {
    this.addEventListener("wan-open", (event) => tell(this, "show", { index: event.detail.index }));
    // What happens to an image does not rise; it can be caught on its way down.
    this.addEventListener("error", (event) => this.#replaceBroken(event.target), true);
  }

  /** The orders that are shown, newest first. */
  get entries() {
    return this.#entries;
  }

  /** Forget everything. */
  clear() {
    this.#entries = [];
    this.#days.clear();
    this.replaceChildren();
  }

  /** Put orders behind those that are here. */
  extend(entries) {
    const known = new Set(this.#entries.map((entry) => entry.id));
    const added = entries.filter((entry) => !known.has(entry.id));
    this.#entries.push(...added);
    for (const [day, ofDay] of Map.groupBy(added, (entry) => dayOf(entry.created_at))) {
      this.#dayFor(day).list.append(...ofDay.flatMap((entry) => makeCells(entry)));
    }
  }

  /** Take the newest orders as they are now: `entries` are all there are down to the last one of them. */
  renew(entries, isAll) {
    const last = entries.at(-1);
    const known = new Map(this.#entries.map((entry) => [entry.id, entry]));
    const older = isAll ? [] : this.#entries.filter((entry) => last && isNewer(last, entry));
    if (JSON.stringify(entries) === JSON.stringify(this.#entries.slice(0, this.#entries.length - older.length))) return;
    const kept = new Set([...entries, ...older].map((entry) => entry.id));
    for (const id of known.keys()) if (!kept.has(id)) this.#remove(id);
    let before = null;
    for (const entry of entries) {
      const same = JSON.stringify(known.get(entry.id)) === JSON.stringify(entry);
      if (!same) {
        const focused = this.contains(document.activeElement) ? document.activeElement.closest("[data-index]")?.dataset.index : null;
        this.#remove(entry.id);
        const { list } = this.#dayFor(dayOf(entry.created_at));
        const cells = makeCells(entry);
        if (before?.parentElement === list) before.after(...cells);
        else list.prepend(...cells);
        if (focused?.startsWith(`${entry.id}/`)) cells[0]?.querySelector("button")?.focus();
      }
      before = [...this.querySelectorAll(`[data-order="${CSS.escape(entry.id)}"]`)].at(-1) ?? before;
    }
    this.#entries = [...entries, ...older];
    for (const [day, { section, list }] of this.#days) {
      if (list.children.length) continue;
      section.remove();
      this.#days.delete(day);
    }
  }

  /** Show one order as it is now, in its place; `isAll` says that there are none behind those that are here. */
  place(entry, isAll) {
    const newer = this.#entries.filter((other) => other.id !== entry.id && isNewer(other, entry));
    if (isAll || newer.length < this.#entries.length) this.renew([...newer, entry], false);
  }

  /** Say beside each day what its images cost: rows of a name, a number of images and words. */
  set costs(rows) {
    this.#costs = new Map(rows.map((row) => [row.name, row]));
    for (const day of this.#days.keys()) this.#showCost(day);
  }

  #dayFor(day) {
    const there = this.#days.get(day);
    if (there) return there;
    const heading = make("h2", { id: `day-${day}` }, dayWords(day));
    const cost = make("p", { class: "day-cost" });
    const list = make("ul", { class: "cells" });
    const section = make("section", { class: "day", "aria-labelledby": heading.id }, make("header", {}, heading, cost), list);
    const later = [...this.#days.keys()].filter((other) => other < day).sort().at(-1);
    if (later) this.#days.get(later).section.before(section);
    else this.append(section);
    this.#days.set(day, { section, list, cost });
    this.#showCost(day);
    return this.#days.get(day);
  }

  #showCost(day) {
    const row = this.#costs.get(day);
    this.#days.get(day).cost.textContent = row ? row.words.replace(/ \(.*/, "") : "";
  }

  #remove(id) {
    for (const cell of this.querySelectorAll(`[data-order="${CSS.escape(id)}"]`)) cell.remove();
  }

  async #replaceBroken(image) {
    const card = image.closest?.("wan-card");
    if (!card) return;
    const { index, why } = card.picture;
    const status = { tone: "quiet", text: "Cannot be shown", notes: [] };
    const note = makeNote(status, index);
    card.replaceWith(note);
    const words = await why?.();
    if (words) note.querySelector("wan-status").status = { ...status, notes: [words] };
  }
}

function isNewer(one, other) {
  return one.created_at > other.created_at || (one.created_at === other.created_at && one.id > other.id);
}

/** One cell for each image of an order, or one with words if it has none. */
function makeCells(entry) {
  const pictures = picturesOf(entry);
  const words = shortPrompt(entry) || "Prompt not known";
  const line = (part) => make("p", { class: "cell-facts" }, [entry.facts.model, timeWords(entry.created_at), part].filter(Boolean).join(" · "));
  const cell = (index, content, part) =>
    make("li", { class: "cell", "data-order": entry.id, "data-index": index }, content, make("p", { class: "cell-words", dir: "auto", "aria-hidden": content.tagName === "WAN-CARD" ? "true" : null }, words), line(part));
  if (!pictures.length) {
    const index = `${entry.id}/0`;
    return [cell(index, makeNote(statusOf(entry), index))];
  }
  return pictures.map((picture, place) => {
    const card = make("wan-card");
    card.picture = { ...picture, path: null };
    return cell(picture.index, card, pictures.length > 1 ? `${place + 1} of ${pictures.length}` : null);
  });
}

function makeNote({ tone, text, notes }, index) {
  const status = make("wan-status", { still: true });
  status.status = { tone, text, notes: notes.slice(0, 1) };
  const press = (event) => tell(event.currentTarget, "open", { index });
  return make("div", { class: "cell-note" }, status, make("button", { type: "button", class: "plain", onclick: press }, "Details"));
}

customElements.define("wan-sheet", WanSheet);
