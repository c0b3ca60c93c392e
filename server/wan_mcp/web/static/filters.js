import { make } from "./dom.js";
import { startOfDay } from "./format.js";

const NAMES = ["text", "state", "model", "region", "from", "to"];
const TYPING_PAUSE_MILLISECONDS = 250;

/** The search form: the filters, kept in the address of the page so that a reload finds them again. */
export class Filters {
  #form;
  #changed;
  #timer = 0;

  /** `changed()` is called when the filters are others. */
  constructor(form, changed) {
    this.#form = form;
    this.#changed = changed;
    const given = new URLSearchParams(location.search);
    for (const name of NAMES) {
      const value = given.get(name);
      if (!value) continue;
      if (form.elements[name].tagName === "SELECT" && ![...form.elements[name].options].some((option) => option.value === value)) {
        form.elements[name].append(make("option", { value }, value));
      }
      form.elements[name].value = value;
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
    form.addEventListener("input", (event) => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#apply(), event.target.type === "search" ? TYPING_PAUSE_MILLISECONDS : 0);
    });
    form.elements.more.addEventListener("click", () => this.#setExpanded(form.elements.more.getAttribute("aria-expanded") !== "true"));
    if (NAMES.slice(1).some((name) => given.get(name))) this.#setExpanded(true);
    this.#showCount();
  }

  get isEmpty() {
    return NAMES.every((name) => !this.#form.elements[name].value.trim());
  }

  /** Whether all orders of a day are shown: nothing but days is chosen. */
  get hasWholeDays() {
    return NAMES.slice(0, 4).every((name) => !this.#form.elements[name].value.trim());
  }

  get state() {
    return this.#form.elements.state.value;
  }

  /** The parameters of a request for orders. */
  get query() {
    const { text, state, model, region, from, to } = this.#form.elements;
    return {
      text: text.value.trim(),
      state: state.value,
      model: model.value,
      region: region.value,
      since: from.value ? startOfDay(from.value) : "",
      until: to.value ? startOfDay(to.value, 1) : "",
    };
  }

  /** Show everything. */
  clear() {
    for (const name of NAMES) this.#form.elements[name].value = "";
    this.#form.elements.text.focus();
    this.#apply();
  }

  /** Add the values that the ledger has to a choice; what is chosen stays. */
  addValues(name, values) {
    const select = this.#form.elements[name];
    const known = new Set([...select.options].map((option) => option.value));
    select.append(...values.filter((value) => !known.has(value)).map((value) => make("option", { value }, value)));
  }

  #setExpanded(isExpanded) {
    this.#form.elements.more.setAttribute("aria-expanded", String(isExpanded));
    this.#form.toggleAttribute("expanded", isExpanded);
  }

  #showCount() {
    const count = NAMES.slice(1).filter((name) => this.#form.elements[name].value).length;
    this.#form.querySelector(".count").textContent = count ? ` (${count})` : "";
  }

  #apply() {
    clearTimeout(this.#timer);
    const kept = NAMES.map((name) => [name, this.#form.elements[name].value.trim()]).filter(([, value]) => value);
    history.replaceState(null, "", kept.length ? `?${new URLSearchParams(kept)}` : location.pathname);
    this.#showCount();
    this.#changed();
  }
}
