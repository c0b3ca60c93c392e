import { person, read, signOut } from "./api.js";
import { make } from "./dom.js";
import { Filters } from "./filters.js";
import { formatCount, formatDay, formatNumber, toCapital } from "./format.js";
import { makeDetails, shortPrompt, toPictures } from "./gallery_order.js";
import "./lightbox.js";
import { OpenOrders } from "./open_orders.js";
import "./thumbnails.js";

const POLL_MILLISECONDS = 2000;
const COSTS_DELAY_MILLISECONDS = 400;
const FAILURES_BEFORE_MESSAGE = 2;
const PRELOAD_MARGIN = "1600px";
const PRELOAD_PICTURES = 8;
const MOST_DAYS = 14;

const select = (selector) => document.querySelector(selector);

/** The page: everything that was ordered, and what goes on. */
class GalleryPage {
  #filters = new Filters(select(".filters"), () => this.#search());
  #thumbnails = select("wan-thumbnails");
  #lightbox = select("wan-lightbox");
  #count = select(".found");
  #error = select("wan-status.trouble");
  #openOrders = new OpenOrders(select(".running"), {
    openPicture: (order, index) => this.#lightbox.show(this.#toDetailedPictures(order), index),
    changed: () => this.#poll(),
  });
  #empty = select(".empty");
  #moreButton = select(".show-more");
  #costsButton = select(".costs-button");
  #costs = select(".costs");
  #openIds = new Set();
  #fingerprint = "";
  #cursor = null;
  #searchNumber = 0;
  #isLoading = false;
  #failures = 0;
  #timer = 0;
  #isPolling = false;
  #pollAgain = false;

  async start() {
    this.#moreButton.addEventListener("click", () => this.#loadMore());
    new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && this.#loadMore(), { rootMargin: `0px 0px ${PRELOAD_MARGIN}` }).observe(select(".end"));
    this.#thumbnails.addEventListener("wan-open", (event) => this.#lightbox.show(this.#listPictures(), event.detail.index));
    this.#lightbox.addEventListener("wan-moved", (event) => event.detail.left < PRELOAD_PICTURES && this.#loadMore());
    this.#costsButton.addEventListener("click", () => this.#toggleCosts());
    if (person !== undefined) this.#offerSignOut();
    document.addEventListener("visibilitychange", () => document.hidden || this.#poll());
    await this.#search();
  }

  #offerSignOut() {
    const button = select(".sign-out");
    const name = select(".person");
    name.textContent = `Signed in as ${person}`;
    name.hidden = false;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await signOut();
        location.reload();
      } catch (error) {
        this.#showError(error);
      }
    });
  }

  /** Search anew, from the top. */
  async #search() {
    this.#searchNumber += 1;
    this.#cursor = null;
    this.#fingerprint = "";
    this.#openIds.clear();
    this.#isLoading = false;
    const search = this.#searchNumber;
    const isForOpen = this.#filters.state === "open";
    try {
      const [page] = await Promise.all([isForOpen ? { orders: [], cursor: null } : read("orders", this.#filters.query), this.#poll()]);
      if (search !== this.#searchNumber) return;
      this.#thumbnails.clear();
      this.#thumbnails.extend(page.orders);
      this.#setCursor(page);
      scrollTo({ top: 0 });
    } catch (error) {
      this.#showError(error);
    }
  }

  #setCursor(page) {
    this.#cursor = page.cursor;
    this.#moreButton.hidden = !page.cursor;
    this.#showEmpty();
  }

  async #loadMore() {
    if (this.#isLoading || !this.#cursor) return;
    this.#isLoading = true;
    const search = this.#searchNumber;
    try {
      const page = await read("orders", { ...this.#filters.query, cursor: this.#cursor });
      if (search !== this.#searchNumber) return;
      this.#thumbnails.extend(page.orders);
      this.#lightbox.extend(() => this.#listPictures());
      this.#setCursor(page);
    } catch (error) {
      this.#showError(error);
    } finally {
      if (search === this.#searchNumber) this.#isLoading = false;
    }
    // The end may still be in sight, and then nothing crosses it.
    if (search === this.#searchNumber && select(".end").getBoundingClientRect().top < innerHeight + Number.parseInt(PRELOAD_MARGIN, 10)) setTimeout(() => this.#loadMore());
  }

  /** Ask what goes on, now and every two seconds while somebody sees the page. */
  async #poll() {
    clearTimeout(this.#timer);
    if (this.#isPolling) {
      this.#pollAgain = true;
      return;
    }
    this.#isPolling = true;
    const search = this.#searchNumber;
    try {
      const open = await read("open", this.#filters.query);
      this.#failures = 0;
      this.#error.hidden = true;
      if (search === this.#searchNumber) await this.#update(open);
    } catch (error) {
      this.#showError(error);
    } finally {
      this.#isPolling = false;
    }
    clearTimeout(this.#timer);
    if (this.#pollAgain || search !== this.#searchNumber) {
      this.#pollAgain = false;
      this.#poll();
    } else if (!document.hidden) this.#timer = setTimeout(() => this.#poll(), POLL_MILLISECONDS);
  }

  async #update(open) {
    this.#thumbnails.nameDays();
    this.#filters.addValues("model", open.models);
    this.#filters.addValues("region", open.regions);
    const shown = ["", "open"].includes(this.#filters.state) ? open.orders : [];
    this.#openOrders.show(shown);
    const { orders, images } = open.count;
    const text = orders ? toCapital(`${formatCount(images, "image")} of ${formatCount(orders, "order")}`) : "";
    if (this.#count.textContent !== text) this.#count.textContent = text;
    const fingerprint = JSON.stringify([open.count, open.orders.map((order) => order.id)]);
    const isFirst = this.#fingerprint === "";
    if (fingerprint === this.#fingerprint) return;
    this.#fingerprint = fingerprint;
    const before = this.#openIds;
    this.#openIds = new Set(open.orders.map((order) => order.id));
    // The first pictures go before the costs.
    setTimeout(() => this.#loadCosts(), isFirst ? COSTS_DELAY_MILLISECONDS : 0);
    if (isFirst || this.#filters.state === "open") {
      this.#showEmpty();
      return;
    }
    const search = this.#searchNumber;
    const page = await read("orders", this.#filters.query);
    if (search !== this.#searchNumber) return;
    this.#thumbnails.refresh(page.orders, !page.cursor);
    if (!page.cursor) this.#cursor = null;
    else this.#cursor ??= this.#thumbnails.orders.length > page.orders.length ? null : page.cursor;
    this.#moreButton.hidden = !this.#cursor;
    this.#showEmpty();
    // An order may end that is older than the newest page of those that have ended.
    const known = new Set([...this.#openIds, ...page.orders.map((order) => order.id)]);
    if (!this.#filters.state) for (const id of before) if (!known.has(id)) await this.#refresh(id);
  }

  /** Show an order that has ended as it is now. */
  async #refresh(id) {
    const search = this.#searchNumber;
    const order = await read(`orders/${encodeURIComponent(id)}`);
    if (search === this.#searchNumber && !order.is_open) this.#thumbnails.place(order, !this.#cursor);
  }

  async #loadCosts() {
    try {
      const costs = await read("costs");
      this.#thumbnails.costs = this.#filters.hasWholeDays ? costs.days : [];
      showCosts(this.#costs, costs);
      this.#costsButton.textContent = costs.cost.is_estimate ? `Costs: about ${costs.cost.amount}` : "Costs";
      this.#costsButton.hidden = !costs.images;
    } catch (error) {
      this.#showError(error);
    }
  }

  #toggleCosts() {
    this.#costs.hidden = !this.#costs.hidden;
    this.#costsButton.setAttribute("aria-expanded", String(!this.#costs.hidden));
  }

  #listPictures() {
    return this.#thumbnails.orders.flatMap((order) => this.#toDetailedPictures(order));
  }

  /** What the lightbox shows of an order: its images, or its details alone. */
  #toDetailedPictures(order) {
    const changed = (after) => {
      if (after.id === order.id && !after.is_open) this.#thumbnails.place(after, !this.#cursor);
      this.#poll();
    };
    const pictures = toPictures(order);
    if (pictures.length) return pictures.map((picture) => ({ ...picture, makeDetails: () => makeDetails(order, changed, picture.number) }));
    return [{ index: `${order.id}/0`, description: shortPrompt(order) || "An order", note: "No image", makeDetails: () => makeDetails(order, changed) }];
  }

  #showEmpty() {
    const isEmpty = !this.#thumbnails.orders.length && this.#openOrders.isEmpty && this.#fingerprint !== "" && !this.#cursor;
    if (this.#empty.hidden === !isEmpty) return;
    this.#empty.hidden = !isEmpty;
    if (!isEmpty) return;
    if (this.#filters.isEmpty) {
      this.#empty.replaceChildren(make("p", { class: "empty-title" }, "Nothing was ordered yet."), ...describeBeginning());
    } else {
      const clear = make("button", { type: "button", onclick: () => this.#filters.clear() }, "Show everything");
      this.#empty.replaceChildren(make("p", { class: "empty-title" }, "No order fits this search."), clear);
    }
  }

  #showError(error) {
    this.#failures += 1;
    if (error.isUnreachable && this.#failures < FAILURES_BEFORE_MESSAGE) return;
    this.#error.status = { tone: "trouble", text: toTrouble(error), notes: [error.message] };
    this.#error.hidden = false;
  }
}

/** What went wrong, in short. */
function toTrouble(error) {
  if (error.status === 401) return "Signed out";
  if (!error.isUnreachable) return "That did not work";
  return person === undefined ? "The gallery has ended" : "No answer";
}

/** What a person can do who has no picture yet. */
function describeBeginning() {
  if (person !== undefined) return [make("p", {}, "Ask an agent for a picture.")];
  return [make("p", {}, "Ask an agent for a picture, or try this at a terminal; it is free:"), make("pre", {}, 'wan-mcp generate "A flower shop in spring" --region sandbox')];
}

function makeCostTable(caption, name, rows) {
  const head = make("tr", {}, make("th", { scope: "col" }, name), make("th", { scope: "col", class: "number" }, "Images"), make("th", { scope: "col" }, "Cost"));
  const lines = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.title), make("td", { class: "number" }, formatNumber(row.images)), make("td", {}, row.cost.amount)));
  return make("div", { class: "table" }, make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, lines)));
}

/** Show in an element what images cost: all of them, by model and by day. */
function showCosts(element, costs) {
  const made = `${formatCount(costs.images, "image")} ${costs.images === 1 ? "was" : "were"} made`;
  const total = make("p", {}, `${toCapital(made)}: ${costs.cost.text}. Only the service's own bill is certain.`);
  const left = costs.unclear_images === 1 ? "it is" : "they are";
  const unclear = costs.unclear_images ? make("p", {}, `What became of ${formatCount(costs.unclear_images, "image")} is not known; ${left} in no sum.`) : null;
  const models = makeCostTable("By model", "Model and region", costs.models.map((row) => ({ ...row, title: row.name })));
  const days = makeCostTable(costs.days.length > MOST_DAYS ? `By day, the last ${MOST_DAYS} with images` : "By day", "Day", costs.days.slice(0, MOST_DAYS).map((row) => ({ ...row, title: formatDay(row.name) })));
  element.replaceChildren(total, ...(unclear ? [unclear] : []), make("div", { class: "tables" }, models, days));
}

new GalleryPage().start();
