import { make } from "./dom.js";
import { formatImages, formatPrice, parseAspect } from "./format.js";
import "./order.js";
import { listSavedIndexes, readPicture, readTask, toStatus } from "./task.js";

const WAIT_SECONDS = 20; // Well under the minute that some hosts give a call.
const PAUSE_MILLISECONDS = 2000;
const MOST_FAILURES = 4;
const MOST_POLLS = 180; // An hour: by then a person presses again, or the ledger has it.
const VARIATIONS = 4;
const PREVIEW_SIDE = 1024;
const ARGUMENTS_OF_ONE_CALL = new Set(["wait_seconds", "fresh"]);

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A seed of our own, so that the variation can be named and made again. */
function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
}

/** One order of the view, polled until it ends: its arguments, its task, its pictures; shown in `element`. */
export class OrderController {
  element = make("wan-order");
  #host;
  #view;
  #origin;
  #args;
  #startedAt = Date.now();
  #task = null;
  #status = { tone: "busy", text: "Ordering" };
  #pictures = [];
  #price = null;
  #taskId = null;
  #isPolling = false;
  #isRequestRead = false;

  /** `args` are those of generate_image; `origin` is `conversation`, or the action that a person pressed. */
  constructor(view, args = {}, origin = "conversation") {
    this.#view = view;
    this.#host = view.host;
    this.#args = args;
    this.#origin = origin;
    this.element.addEventListener("wan-open", (event) => view.openPicture(this.#pictures, event.detail.index));
    this.element.addEventListener("wan-action", (event) => this.#act(event.detail.name));
    this.element.addEventListener("wan-edit", (event) => this.#orderEdit(event.detail));
    this.show();
  }

  /** Take over arguments, complete or still being written. */
  setArguments(args) {
    if (typeof args.task_id === "string") this.#taskId = args.task_id;
    if (typeof args.prompt === "string") this.#args = args;
    if (this.#task === null && this.#status.tone === "busy") {
      this.#status = { tone: "busy", text: this.#taskId ? "Asking for the task" : "Ordering" };
    }
    this.show();
  }

  /** Show that the call was cancelled before it answered. */
  showCancelled() {
    if (this.#task) return;
    const notes = ["If it had been ordered already, the images are saved all the same: ask for the recent tasks."];
    this.#finish({ tone: "quiet", text: "The call was cancelled", notes });
  }

  /** Place this order, as a person asked for it. */
  async place() {
    try {
      const answer = await this.#host.callTool("generate_image", { ...this.#args, fresh: true, wait_seconds: WAIT_SECONDS });
      await this.setResult(answer);
    } catch (error) {
      const notes = [error.message, "It may have been ordered all the same: look at the recent tasks before ordering again."];
      this.#finish({ tone: "trouble", text: "The host gave no answer", notes });
    }
  }

  /** Take the answer of a tool, poll while the task goes on, and fetch previews of what is done. */
  async setResult(result) {
    if (!this.#update(result)) return;
    await this.#readRequest();
    if (this.#task.is_waiting) {
      if (!this.#host.canCallTools) return;
      await this.#poll();
    }
    if (!this.#view.isClosed && !this.#task.is_waiting) await this.#fetchPreviews();
  }

  show() {
    const { prompt, negative_prompt, model, region, seed, images } = this.#args;
    // Beside a picture, its caption has the size and the status the number.
    const { size, n } = this.#pictures.length ? {} : this.#args;
    const settings = {
      prompt,
      negative_prompt,
      model: this.#task?.model ?? model,
      region: this.#task?.region ?? region,
      seed,
      n,
      size,
      images: Array.isArray(images) ? images : [],
    };
    const titles = { conversation: "Order", variations: "Variations", again: "Ordered again", edit: "Change" };
    this.element.order = {
      label: `${titles[this.#origin]}: ${this.#status.text}`,
      settings,
      status: { ...this.#status, since: this.#status.tone === "busy" && this.#host.canCallTools ? this.#startedAt : null },
      pictures: this.#pictures.length ? this.#pictures : this.#makePlaceholders(),
      actions: this.#listActions(),
      edit: this.#describeEdit(),
    };
  }

  /** Take over the task of an answer; false if the answer has none, and then its text is all that is shown. */
  #update(result) {
    const { task, text } = readTask(result);
    if (!task) {
      this.#finish({ tone: "trouble", text: "That did not work", notes: [text || "The answer cannot be read."] });
      return false;
    }
    this.#task = task;
    this.#taskId = task.task_id ?? this.#taskId;
    this.#status = toStatus(task);
    if (task.is_waiting) {
      if (!this.#host.canCallTools) this.#status = { ...this.#status, tone: "quiet", notes: ["Ask for the task to see the images. They are saved in any case."] };
      this.show();
      return true;
    }
    const indexes = listSavedIndexes(task);
    const note = this.#host.canCallTools ? undefined : "";
    this.#pictures = (task.images ?? []).map((image, position) => ({
      ...image,
      index: indexes[position],
      description: this.#describe(indexes[position], task.images.length),
      busy: true,
      note,
    }));
    this.show();
    return true;
  }

  async #poll() {
    if (this.#isPolling) return;
    this.#isPolling = true;
    let failures = 0;
    let reason = "It takes unusually long.";
    for (let polls = 0; polls < MOST_POLLS; polls += 1) {
      const startedAt = performance.now();
      try {
        const answer = await this.#host.callTool("get_task", { task_id: this.#taskId, wait_seconds: WAIT_SECONDS });
        if (this.#view.isClosed) return;
        const { task, text } = readTask(answer);
        if (!task) throw new Error(text);
        failures = 0;
        this.#update(answer);
        if (!this.#task.is_waiting) break;
      } catch (error) {
        failures += 1;
        reason = error.message;
        if (this.#view.isClosed || failures === MOST_FAILURES) break;
      }
      await pause(Math.max(0, PAUSE_MILLISECONDS * Math.max(1, failures) - (performance.now() - startedAt)));
      if (this.#view.isClosed) return;
    }
    this.#isPolling = false;
    if (this.#view.isClosed) return;
    if (this.#task.is_waiting || failures) this.#finish({ tone: "trouble", text: "No longer followed", notes: [reason, "The order goes on, and its images are saved in any case."] });
    else this.#view.reportToModel(this.#task);
  }

  async #fetchPreviews() {
    if (this.#origin !== "conversation" && !this.#view.isReported(this.#task)) this.#view.reportToModel(this.#task);
    if (!this.#host.canCallTools) return;
    for (const picture of [...this.#pictures]) {
      if (this.#view.isClosed) return;
      let answer;
      try {
        answer = readPicture(await this.#host.callTool("view_image", { task_id: this.#taskId, index: picture.index }));
      } catch (error) {
        answer = { text: error.message };
      }
      const remark = Math.max(picture.width, picture.height) > PREVIEW_SIDE ? `preview at ${PREVIEW_SIDE} px` : "";
      const preview = answer.src ? { src: answer.src, remark } : { note: answer.text };
      this.#pictures = this.#pictures.map((each) => (each.index === picture.index ? { ...each, ...preview, busy: false } : each));
      this.show();
    }
  }

  /** Read what was ordered, which the answer does not say: the prompt, the settings, the price. */
  async #readRequest() {
    if (this.#isRequestRead || !this.#taskId || !this.#host.canReadResources) return;
    this.#isRequestRead = true;
    try {
      const uri = `wan://tasks/${encodeURIComponent(this.#taskId)}`;
      const answer = await this.#host.request("resources/read", { uri });
      const { order = {} } = JSON.parse(answer.contents?.[0]?.text ?? "{}");
      if (order.arguments) this.#args = order.arguments;
      this.#price = order.price ?? null;
      const createdAt = Date.parse(order.created_at);
      if (this.#origin === "conversation" && createdAt < this.#startedAt) this.#startedAt = createdAt;
    } catch {
      // The view does without: it shows the arguments that the host gave.
    }
    this.#pictures = this.#pictures.map((each) => ({ ...each, description: this.#describe(each.index, this.#pictures.length) }));
    this.show();
  }

  #finish(status) {
    this.#status = status;
    this.show();
  }

  #describe(index, count) {
    const prompt = this.#args.prompt ?? "";
    const short = prompt.length > 160 ? `${prompt.slice(0, 160).trimEnd()}…` : prompt;
    return (count > 1 ? `Image ${index} of ${count}` : "Image") + (short ? `: ${short}` : "");
  }

  /** Empty places for images that are on their way. */
  #makePlaceholders() {
    const { prompt, size, n = 1 } = this.#args;
    if (this.#status.tone !== "busy" || !prompt) return [];
    const count = Math.min(4, Math.max(1, Math.trunc(Number(n)) || 1));
    return Array.from({ length: count }, (_, position) => ({ index: position + 1, aspect: parseAspect(size), busy: true }));
  }

  /** What a person can do next. Nothing is ordered while this one is open: it may be paid for. */
  #listActions() {
    if (!this.#host.canCallTools) return [];
    if (this.#task?.is_waiting || this.#task?.is_unsaved) {
      return this.#status.tone === "trouble" ? [{ name: "ask", label: "Ask again" }] : [];
    }
    if (!this.#task || !this.#args.prompt || this.#task.is_refusal) return [];
    const cost = formatPrice(this.#price, this.#task.region);
    // Of a set nobody need say how many; then it is as many as came.
    const count = this.#args.n ?? Math.max(1, this.#task.images?.length ?? 0);
    const again = { name: "again", label: "Order again", confirm: `Order ${formatImages(count)}` };
    again.question = `Order the same ${count === 1 ? "image" : formatImages(count)} once more? ${cost}`;
    if (!this.#task.images?.length) return [again];
    const variations = { name: "variations", label: `${VARIATIONS} variations`, confirm: `Order ${formatImages(VARIATIONS)}` };
    variations.question = `Order ${formatImages(VARIATIONS)} of the same words with a new seed? ${cost}`;
    return [variations, again];
  }

  /** Which of the saved images can be used as input, and what that costs; null while nothing may be ordered. */
  #describeEdit() {
    const indexes = this.#task && !this.#task.is_waiting ? listSavedIndexes(this.#task) : [];
    if (!this.#host.canCallTools || !this.#taskId || !indexes.length) return null;
    const note = this.#task.region === "sandbox" ? "The sandbox is free." : "The change is an order of its own and costs money.";
    return { indexes, note };
  }

  /** Order a change of an image in words: by the same model and seed if that was made from pictures as well. */
  #orderEdit({ prompt, index }) {
    const { images, model, seed, region } = this.#args;
    const kept = images?.length ? { model, seed, region } : {};
    const args = { ...kept, prompt, images: [`${this.#taskId}#${index}`] };
    // What was free stays free.
    if (this.#task.region === "sandbox") args.region = "sandbox";
    this.element.clearEdit();
    const given = Object.entries(args).filter(([, value]) => value !== undefined && value !== null);
    this.#view.add(new OrderController(this.#view, Object.fromEntries(given), "edit")).place();
  }

  #act(name) {
    if (name === "ask") {
      this.#status = { tone: "busy", text: "Asking for the task" };
      this.show();
      this.#poll().then(() => {
        if (!this.#view.isClosed && !this.#task.is_waiting) this.#fetchPreviews();
      });
      return;
    }
    const kept = Object.fromEntries(Object.entries(this.#args).filter(([key]) => !ARGUMENTS_OF_ONE_CALL.has(key)));
    const args = name === "variations" ? { ...kept, n: VARIATIONS, seed: newSeed() } : kept;
    this.#view.add(new OrderController(this.#view, args, name)).place();
  }
}
