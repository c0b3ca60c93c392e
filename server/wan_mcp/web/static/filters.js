import { make } from "./dom.js";
import { startOf } from "./times.js";

const NAMES = ["text", "state", "model", "region", "from", "to"];
const TYPING_MILLISECONDS = 250;

/** The form of the search: what is asked for, kept in the address of the page so that a reload finds it again. */
export class Filters {
  #form;
  #changed;
  #timer = 0;

  /** `changed()` is called when another question is asked. */
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
      this.#tell();
    });
    form.addEventListener("input", (event) => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#tell(), event.target.type === "search" ? TYPING_MILLISECONDS : 0);
    });
    form.elements.more.addEventListener("click", () => this.#unfold(form.elements.more.getAttribute("aria-expanded") !== "true"));
    if (NAMES.slice(1).some((name) => given.get(name))) this.#unfold(true);
    this.#mark();
  }

  get isEmpty() {
    return NAMES.every((name) => !this.#form.elements[name].value.trim());
  }

  /** Whether days are shown whole: nothing but the days is chosen. */
  get isWhole() {
    return NAMES.slice(0, 4).every((name) => !this.#form.elements[name].value.trim());
  }

  get state() {
    return this.#form.elements.state.value;
  }

  /** What is asked of the site. */
  get query() {
    const { text, state, model, region, from, to } = this.#form.elements;
    return {
      text: text.value.trim(),
      state: state.value,
      model: model.value,
      region: region.value,
      since: from.value ? startOf(from.value) : "",
      until: to.value ? startOf(to.value, 1) : "",
    };
  }

  /** Ask for everything. */
  clear() {
    for (const name of NAMES) this.#form.elements[name].value = "";
    this.#form.elements.text.focus();
    this.#tell();
  }

  /** Offer what the ledger has; what is chosen stays. */
  offer(name, values) {
    const select = this.#form.elements[name];
    const known = new Set([...select.options].map((option) => option.value));
    select.append(...values.filter((value) => !known.has(value)).map((value) => make("option", { value }, value)));
  }

  #unfold(open) {
    this.#form.elements.more.setAttribute("aria-expanded", String(open));
    this.#form.toggleAttribute("unfolded", open);
  }

  #mark() {
    const count = NAMES.slice(1).filter((name) => this.#form.elements[name].value).length;
    this.#form.querySelector(".count").textContent = count ? ` (${count})` : "";
  }

  #tell() {
    clearTimeout(this.#timer);
    const kept = NAMES.map((name) => [name, this.#form.elements[name].value.trim()]).filter(([, value]) => value);
    history.replaceState(null, "", kept.length ? `?${new URLSearchParams(kept)}` : location.pathname);
    this.#mark();
    this.#changed();
  }
}
