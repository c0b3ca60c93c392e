import { make } from "./dom.js";
import { secondsWords } from "./words.js";

/**
 * `<wan-status>`: how something stands. Set `status = {tone, text, notes, since}`; `since` (milliseconds of the clock)
 * counts seconds. A change of the words is read out; the seconds are not. With the attribute `still` nothing is.
 */
export class WanStatus extends HTMLElement {
  #words = make("span", { class: "status-words" });
  #clock = make("span", { class: "status-clock", "aria-hidden": "true" });
  #notes = make("div", { class: "status-notes" });
  #live = make("div", { class: "status-live", role: "status" }, make("p", { class: "status-line" }, this.#words, this.#clock), this.#notes);
  #timer = 0;
  #since = null;

  connectedCallback() {
    if (this.hasAttribute("still")) this.#live.removeAttribute("role");
    this.replaceChildren(this.#live);
    this.#count();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  set status({ tone, text, notes = [], since = null }) {
    this.dataset.tone = tone;
    if (this.#words.textContent !== text) this.#words.textContent = text;
    const shown = [...this.#notes.children].map((note) => note.textContent);
    if (shown.join("\n") !== notes.join("\n")) this.#notes.replaceChildren(...notes.map((note) => make("p", {}, note)));
    this.#since = since;
    this.#count();
  }

  #count() {
    clearInterval(this.#timer);
    const show = () => {
      this.#clock.textContent = this.#since === null ? "" : secondsWords((Date.now() - this.#since) / 1000);
    };
    show();
    if (this.#since !== null && this.isConnected) this.#timer = setInterval(show, 1000);
  }
}

customElements.define("wan-status", WanStatus);
