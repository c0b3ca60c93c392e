import { make } from "./dom.js";
import { sizeWords } from "./words.js";

/** The settings of an order as short facts: pairs of a name, for those who cannot see the line, and words. */
export function settingFacts({ size, n, model, region, seed }) {
  return [
    ["Size", size ? sizeWords(size) : null],
    ["Images", n > 1 ? `${n} images` : null],
    ["Model", model],
    ["Region", region],
    ["Seed", seed === undefined || seed === null ? null : `seed ${seed}`],
  ].filter(([, words]) => words);
}

/**
 * `<wan-prompt>`: what was asked for. Set `settings = {prompt, negative_prompt, size, n, model, region, seed}`; what
 * is absent is left out. A long prompt is cut to some lines, with a button for the rest.
 */
export class WanPrompt extends HTMLElement {
  #key = "";
  #words = make("p", { class: "prompt-words", dir: "auto" });
  #without = make("p", { class: "prompt-without", dir: "auto" });
  #more = make("button", { type: "button", class: "plain more", hidden: true, "aria-expanded": "false", onclick: () => this.#toggle() }, "Show all");
  #facts = make("dl", { class: "prompt-facts" });
  #watch = new ResizeObserver(() => this.#measure());

  connectedCallback() {
    this.replaceChildren(this.#words, this.#without, this.#more, this.#facts);
    this.#watch.observe(this.#words);
  }

  disconnectedCallback() {
    this.#watch.disconnect();
  }

  set settings(settings) {
    const key = JSON.stringify(settings);
    if (key === this.#key) return;
    this.#key = key;
    this.#words.textContent = settings.prompt ?? "";
    this.#words.hidden = !settings.prompt;
    this.#without.textContent = settings.negative_prompt ? `Without: ${settings.negative_prompt}` : "";
    this.#without.hidden = !settings.negative_prompt;
    const facts = settingFacts(settings);
    this.#facts.replaceChildren(
      ...facts.map(([name, words]) => make("div", {}, make("dt", { class: "unseen" }, name), make("dd", {}, words))),
    );
    this.#facts.hidden = !facts.length;
    this.#measure();
  }

  #measure() {
    if (this.hasAttribute("whole")) return;
    this.#more.hidden = this.#words.scrollHeight <= this.#words.clientHeight + 1;
  }

  #toggle() {
    const whole = this.toggleAttribute("whole");
    this.#more.setAttribute("aria-expanded", String(whole));
    this.#more.textContent = whole ? "Show less" : "Show all";
  }
}

customElements.define("wan-prompt", WanPrompt);
