import { make } from "./dom.js";
import { Host } from "./host.js";
import "./lightbox.js";
import { OrderController } from "./order_controller.js";

const STYLE_NAMES = /^--(?:color|font|border|shadow)-[a-z0-9-]+$/;

/** The view in a conversation: the order that it was opened for, and those that a person places from it. */
class View {
  host = new Host();
  isClosed = false;
  #list = document.querySelector(".orders");
  #lightbox = document.querySelector("wan-lightbox");
  #first = null;
  #reportedStatuses = new Map();
  #reports = [];
  #isEnlarged = false;

  async open() {
    this.host.on("ui/notifications/tool-input-partial", (params) => this.#openFirst(params.arguments));
    this.host.on("ui/notifications/tool-input", (params) => this.#openFirst(params.arguments));
    this.host.on("ui/notifications/tool-result", (result) => {
      this.#openFirst({}).setResult(result);
    });
    this.host.on("ui/notifications/tool-cancelled", () => this.#openFirst({}).showCancelled());
    this.host.on("ui/notifications/host-context-changed", () => this.#applyContext());
    this.host.on("ui/resource-teardown", () => {
      this.isClosed = true;
      return {};
    });
    window.addEventListener("pagehide", () => {
      this.isClosed = true;
    });
    this.#lightbox.addEventListener("wan-opened", () => this.#enlarge());
    this.#lightbox.addEventListener("wan-closed", () => this.#reduce());
    await this.host.connect({ name: "wan-view", version: "1" }, ["inline", "fullscreen"]);
    this.#applyContext();
    new ResizeObserver(() => this.#notifySize()).observe(document.documentElement);
  }

  add(order) {
    this.#list.append(order.element);
    order.element.focus();
    return order;
  }

  openPicture(pictures, index) {
    this.#lightbox.show(pictures, index);
  }

  isReported(task) {
    return this.#reportedStatuses.get(task.task_id) === task.status;
  }

  /** Report to the model how a task ended that it has not seen end. Each message replaces the one before. */
  reportToModel({ task_id, status, images, message }) {
    if (!task_id || !this.host.canUpdateModelContext) return;
    this.#reportedStatuses.set(task_id, status);
    this.#reports.push(JSON.stringify({ task_id, status, images, message }));
    const text = `In the picture view, these tasks have ended:\n${this.#reports.join("\n")}`;
    this.host.request("ui/update-model-context", { content: [{ type: "text", text }] }).catch((error) => {
      console.warn("The host did not take the report:", error.message);
    });
  }

  #openFirst(args) {
    if (!this.#first) {
      this.#first = new OrderController(this, {});
      this.#list.replaceChildren(this.#first.element);
    }
    if (args) this.#first.setArguments(args);
    return this.#first;
  }

  /** Look as the host does, as far as it says how. */
  #applyContext() {
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

  #notifySize() {
    const { width, height } = document.documentElement.getBoundingClientRect();
    this.host.notify("ui/notifications/size-changed", { width: Math.ceil(width), height: Math.ceil(height) });
  }

  async #enlarge() {
    if (this.host.context.displayMode === "fullscreen" || !this.host.canShow("fullscreen")) return;
    this.#isEnlarged = true;
    await this.#show("fullscreen");
  }

  async #reduce() {
    if (!this.#isEnlarged) return;
    this.#isEnlarged = false;
    await this.#show("inline");
  }

  async #show(mode) {
    try {
      const answer = await this.host.request("ui/request-display-mode", { mode });
      this.host.context.displayMode = answer.mode ?? mode;
      this.#applyContext();
    } catch (error) {
      console.warn("The host keeps the view as it is:", error.message);
    }
  }
}

new View().open().catch((error) => {
  document.querySelector(".orders").replaceChildren(make("p", { class: "note" }, `The view cannot be shown: ${error.message}`));
});
