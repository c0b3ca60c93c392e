import { showCosts } from "./costs.js";
import { makeDetails } from "./details.js";
import { make } from "./dom.js";
import { Filters } from "./filters.js";
import "./lightbox.js";
import { picturesOf, shortPrompt } from "./pictures.js";
import { Running } from "./running.js";
import "./sheet.js";
import { read } from "./site.js";
import { countWords } from "./words.js";

const LOOK_MILLISECONDS = 2000;
const COSTS_MILLISECONDS = 400;
const MISSES_TOLD = 2;
const AHEAD = "1600px";
const LEFT_TO_LOAD = 8;

const select = (words) => document.querySelector(words);

/** The page: everything that was ordered, and what goes on. */
class Gallery {
  #filters = new Filters(select(".filters"), () => this.#search());
  #sheet = select("wan-sheet");
  #lightbox = select("wan-lightbox");
  #found = select(".found");
  #trouble = select("wan-status.trouble");
  #running = new Running(select(".running"), {
    show: (entry, index) => this.#lightbox.show(this.#detailed(entry), index),
    changed: () => this.#look(),
  });
  #empty = select(".empty");
  #more = select(".show-more");
  #costsButton = select(".costs-button");
  #costs = select(".costs");
  #goingOn = new Set();
  #seen = "";
  #cursor = null;
  #round = 0;
  #loading = false;
  #misses = 0;
  #timer = 0;
  #looking = false;
  #again = false;

  async start() {
    this.#more.addEventListener("click", () => this.#loadMore());
    new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this.#loadMore(), { rootMargin: `0px 0px ${AHEAD}` }).observe(select(".end"));
    this.#sheet.addEventListener("wan-show", (event) => this.#show(event.detail.index));
    this.#lightbox.addEventListener("wan-turned", (event) => event.detail.left < LEFT_TO_LOAD && this.#loadMore());
    this.#costsButton.addEventListener("click", () => this.#toggleCosts());
    document.addEventListener("visibilitychange", () => document.hidden || this.#look());
    await this.#search();
  }

  /** Ask anew, from the top. */
  async #search() {
    this.#round += 1;
    this.#cursor = null;
    this.#seen = "";
    this.#goingOn.clear();
    this.#loading = false;
    const round = this.#round;
    const isForOpen = this.#filters.state === "open";
    try {
      const [page] = await Promise.all([isForOpen ? { orders: [], cursor: null } : read("orders", this.#filters.query), this.#look()]);
      if (round !== this.#round) return;
      this.#sheet.clear();
      this.#sheet.extend(page.orders);
      this.#turn(page);
      scrollTo({ top: 0 });
    } catch (error) {
      this.#miss(error);
    }
  }

  #turn(page) {
    this.#cursor = page.cursor;
    this.#more.hidden = !page.cursor;
    this.#showEmpty();
  }

  async #loadMore() {
    if (this.#loading || !this.#cursor) return;
    this.#loading = true;
    const round = this.#round;
    try {
      const page = await read("orders", { ...this.#filters.query, cursor: this.#cursor });
      if (round !== this.#round) return;
      this.#sheet.extend(page.orders);
      this.#lightbox.extend(() => this.#pictures());
      this.#turn(page);
    } catch (error) {
      this.#miss(error);
    } finally {
      if (round === this.#round) this.#loading = false;
    }
    // The end may still be in sight, and then nothing crosses it.
    if (round === this.#round && select(".end").getBoundingClientRect().top < innerHeight + Number.parseInt(AHEAD, 10)) setTimeout(() => this.#loadMore());
  }

  /** Look what goes on, now and every two seconds while somebody sees the page. */
  async #look() {
    clearTimeout(this.#timer);
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    const round = this.#round;
    try {
      const news = await read("open", this.#filters.query);
      this.#misses = 0;
      this.#trouble.hidden = true;
      if (round === this.#round) await this.#take(news);
    } catch (error) {
      this.#miss(error);
    } finally {
      this.#looking = false;
    }
    clearTimeout(this.#timer);
    if (this.#again || round !== this.#round) {
      this.#again = false;
      this.#look();
    } else if (!document.hidden) this.#timer = setTimeout(() => this.#look(), LOOK_MILLISECONDS);
  }

  async #take(news) {
    this.#filters.offer("model", news.models);
    this.#filters.offer("region", news.regions);
    const shown = ["", "open"].includes(this.#filters.state) ? news.orders : [];
    this.#running.show(shown);
    const { orders, images } = news.count;
    const words = `${countWords(images, "image")} of ${countWords(orders, "order")}`;
    if (!orders && this.#filters.isEmpty) this.#found.textContent = "";
    else if (this.#found.textContent !== words) this.#found.textContent = words;
    const seen = JSON.stringify([news.count, news.orders.map((entry) => entry.id)]);
    const isFirst = this.#seen === "";
    if (seen === this.#seen) return;
    this.#seen = seen;
    const before = this.#goingOn;
    this.#goingOn = new Set(news.orders.map((entry) => entry.id));
    // The first pictures go before the sums.
    setTimeout(() => this.#learnCosts(), isFirst ? COSTS_MILLISECONDS : 0);
    if (isFirst || this.#filters.state === "open") {
      this.#showEmpty();
      return;
    }
    const round = this.#round;
    const page = await read("orders", this.#filters.query);
    if (round !== this.#round) return;
    this.#sheet.renew(page.orders, !page.cursor);
    if (!page.cursor) this.#cursor = null;
    else this.#cursor ??= this.#sheet.entries.length > page.orders.length ? null : page.cursor;
    this.#more.hidden = !this.#cursor;
    this.#showEmpty();
    // An order may end that is older than the newest page of those that have ended.
    const known = new Set([...this.#goingOn, ...page.orders.map((entry) => entry.id)]);
    if (!this.#filters.state) for (const id of before) if (!known.has(id)) await this.#renew(id);
  }

  /** Show an order that has ended as it is now. */
  async #renew(id) {
    const round = this.#round;
    const entry = await read(`orders/${encodeURIComponent(id)}`);
    if (round === this.#round && !entry.open) this.#sheet.place(entry, !this.#cursor);
  }

  async #learnCosts() {
    try {
      const costs = await read("costs");
      this.#sheet.costs = this.#filters.isWhole ? costs.days : [];
      showCosts(this.#costs, costs);
      this.#costsButton.textContent = costs.words.startsWith("about") ? `Costs: ${costs.words.replace(/ \(.*/, "")}` : "Costs";
      this.#costsButton.hidden = !costs.images;
    } catch (error) {
      this.#miss(error);
    }
  }

  #toggleCosts() {
    this.#costs.hidden = !this.#costs.hidden;
    this.#costsButton.setAttribute("aria-expanded", String(!this.#costs.hidden));
  }

  #show(index) {
    this.#lightbox.show(this.#pictures(), index);
  }

  #pictures() {
    return this.#sheet.entries.flatMap((entry) => this.#detailed(entry));
  }

  /** What the lightbox shows of an order: its images, or its words alone. */
  #detailed(entry) {
    const changed = (order) => {
      if (order.id === entry.id && !order.open) this.#sheet.place(order, !this.#cursor);
      this.#look();
    };
    const pictures = picturesOf(entry);
    if (pictures.length) return pictures.map((picture) => ({ ...picture, more: () => makeDetails(entry, changed) }));
    return [{ index: `${entry.id}/0`, description: shortPrompt(entry) || "An order", note: "No image", more: () => makeDetails(entry, changed) }];
  }

  #showEmpty() {
    const isEmpty = !this.#sheet.entries.length && this.#running.isEmpty && this.#seen !== "" && !this.#cursor;
    if (this.#empty.hidden === !isEmpty) return;
    this.#empty.hidden = !isEmpty;
    if (!isEmpty) return;
    if (this.#filters.isEmpty) {
      this.#empty.replaceChildren(make("p", { class: "empty-words" }, "Nothing was ordered yet."), make("p", {}, "Ask an agent for a picture, or try this at a terminal; it is free:"), make("pre", {}, 'wan-mcp generate "A flower shop in spring" --region sandbox'));
    } else {
      const clear = make("button", { type: "button", onclick: () => this.#filters.clear() }, "Show everything");
      this.#empty.replaceChildren(make("p", { class: "empty-words" }, "Nothing fits."), clear);
    }
  }

  #miss(error) {
    this.#misses += 1;
    if (error.lost && this.#misses < MISSES_TOLD) return;
    this.#trouble.status = { tone: "trouble", text: error.lost ? "The gallery has ended" : "That did not work", notes: [error.message] };
    this.#trouble.hidden = false;
  }
}

new Gallery().start();
