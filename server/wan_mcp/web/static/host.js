// The MCP host that shows the view: JSON-RPC 2.0 by postMessage with the window that holds the frame.
// Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx

const PROTOCOL = "2026-01-26";
const METHOD_NOT_FOUND = -32601;

/** The conversation with a host. `capabilities` and `context` are what it said of itself. */
export class Host {
  #pending = new Map();
  #handlers = new Map();
  #nextId = 1;
  capabilities = {};
  context = {};

  constructor() {
    this.on("ui/notifications/host-context-changed", (changes) => {
      Object.assign(this.context, changes);
    });
  }

  /** Open the conversation; `info` is {name, version}, `modes` the display modes that the page can do. */
  async connect(info, modes) {
    window.addEventListener("message", (event) => {
      // Messages of other frames of the host are not for us.
      if (event.source === window.parent && event.data?.jsonrpc === "2.0") this.#receive(event.data);
    });
    const answer = await this.request("ui/initialize", {
      protocolVersion: PROTOCOL,
      appInfo: info,
      appCapabilities: { availableDisplayModes: modes },
    });
    this.capabilities = answer.hostCapabilities ?? {};
    this.context = answer.hostContext ?? {};
    this.notify("ui/notifications/initialized", {});
  }

  /** Call `handler(params)` for a message of the host; what it gives is the answer to a request. */
  on(method, handler) {
    this.#handlers.set(method, [...(this.#handlers.get(method) ?? []), handler]);
  }

  /** Send a request and wait for its result, however long the host takes. */
  request(method, params) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#send({ id, method, params });
    });
  }

  notify(method, params) {
    this.#send({ method, params });
  }

  callTool(name, args) {
    return this.request("tools/call", { name, arguments: args });
  }

  get canCallTools() {
    return Boolean(this.capabilities.serverTools);
  }

  get canReadResources() {
    return Boolean(this.capabilities.serverResources);
  }

  get canUpdateModelContext() {
    return Boolean(this.capabilities.updateModelContext);
  }

  canShow(mode) {
    return this.context.availableDisplayModes?.includes(mode) ?? false;
  }

  #send(message) {
    // The frame around this one may have any origin, and nothing secret is said here.
    window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  }

  async #receive({ id, method, params, result, error }) {
    if (method === undefined) {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) pending?.reject(new Error(error.message || "The host refused."));
      else pending?.resolve(result ?? {});
      return;
    }
    const handlers = this.#handlers.get(method) ?? (method === "ping" ? [() => ({})] : []);
    let answer;
    for (const handler of handlers) answer = await handler(params ?? {});
    if (id === undefined) return;
    if (handlers.length) this.#send({ id, result: answer ?? {} });
    else this.#send({ id, error: { code: METHOD_NOT_FOUND, message: `This view has no ${method}.` } });
  }
}
