import { make } from "./dom.js";
import { FollowedOrder } from "./followed.js";
import { Host } from "./host.js";
import "./lightbox.js";

const STYLE_NAMES = /^--(?:color|font|border|shadow)-[a-z0-9-]+$/;

/** The view in a conversation: the order that it was opened for, and those that a person places from it. */
class View {
  host = new Host();
  ended = false;
  #list = document.querySelector(".orders");
  #lightbox = document.querySelector("wan-lightbox");
  #given = null;
  #facts = new Map();
  #said = [];
  #enlarged = false;

  async open() {
    this.host.on("ui/notifications/tool-input-partial", (params) => this.#start(params.arguments));
    this.host.on("ui/notifications/tool-input", (params) => this.#start(params.arguments));
    this.host.on("ui/notifications/tool-result", (result) => {
      this.#start({}).take(result);
    });
    this.host.on("ui/notifications/tool-cancelled", () => this.#start({}).cancel());
    this.host.on("ui/notifications/host-context-changed", () => this.#dress());
    this.host.on("ui/resource-teardown", () => {
      this.ended = true;
      return {};
    });
    window.addEventListener("pagehide", () => {
      this.ended = true;
    });
    this.#lightbox.addEventListener("wan-opened", () => this.#enlarge());
    this.#lightbox.addEventListener("wan-closed", () => this.#reduce());
    await this.host.connect({ name: "wan-view", version: "1" }, ["inline", "fullscreen"]);
    this.#dress();
    new ResizeObserver(() => this.#tellSize()).observe(document.documentElement);
  }

  add(order) {
    this.#list.append(order.element);
    order.element.focus();
    return order;
  }

  openPicture(pictures, index) {
    this.#lightbox.show(pictures, index);
  }

  told(facts) {
    return this.#facts.get(facts.task_id) === facts.status;
  }

  /** Let the model know how an order ended that it has not seen end. Each message replaces the one before. */
  tellTheModel(facts) {
    if (!facts.task_id || !this.host.canTellTheModel) return;
    this.#facts.set(facts.task_id, facts.status);
    this.#said.push(JSON.stringify({ task_id: facts.task_id, status: facts.status, images: facts.images, message: facts.message }));
    const text = `In the picture view, these tasks have ended:\n${this.#said.join("\n")}`;
    this.host.request("ui/update-model-context", { content: [{ type: "text", text }] }).catch((error) => {
      console.warn("The host did not take the news:", error.message);
    });
  }

  #start(args) {
    if (!this.#given) {
      this.#given = new FollowedOrder(this, {});
      this.#list.replaceChildren(this.#given.element);
    }
    if (args) this.#given.giveArguments(args);
    return this.#given;
  }

  /** Look as the host does, as far as it says how. */
  #dress() {
    const { theme, styles, displayMode, safeAreaInsets } = this.host.context;
    const root = document.documentElement;
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    root.dataset.mode = displayMode ?? "inline";
    for (const [name, value] of Object.entries(styles?.variables ?? {})) {
      if (STYLE_NAMES.test(name) && value) root.style.setProperty(name, value);
    }
    for (const [side, pixels] of Object.entries(safeAreaInsets ?? {})) {
      if (Number.isFinite(pixels)) root.style.setProperty(`--inset-${side}`, `${pixels}px`);
    }
  }

  #tellSize() {
    const { width, height } = document.documentElement.getBoundingClientRect();
    this.host.notify("ui/notifications/size-changed", { width: Math.ceil(width), height: Math.ceil(height) });
  }

  async #enlarge() {
    if (this.host.context.displayMode === "fullscreen" || !this.host.canShow("fullscreen")) return;
    this.#enlarged = true;
    await this.#show("fullscreen");
  }

  async #reduce() {
    if (!this.#enlarged) return;
    this.#enlarged = false;
    await this.#show("inline");
  }

  async #show(mode) {
    try {
      const answer = await this.host.request("ui/request-display-mode", { mode });
      this.host.context.displayMode = answer.mode ?? mode;
      this.#dress();
    } catch (error) {
      console.warn("The host keeps the view as it is:", error.message);
    }
  }
}

new View().open().catch((error) => {
  document.querySelector(".orders").replaceChildren(make("p", { class: "note" }, `The view cannot be shown: ${error.message}`));
});
