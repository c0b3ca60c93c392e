import { readPicture, readTask, savedIndexes } from "./answers.js";
import { make } from "./dom.js";
import "./order.js";
import { aspectOf, imagesWords, isOpen, isRefusal, isUnsaved, priceWords, taskWords } from "./words.js";

const WAIT_SECONDS = 20; // Well under the minute that some hosts give a call.
const PAUSE_MILLISECONDS = 2000;
const MOST_MISSES = 4;
const MOST_ASKS = 180; // An hour: by then a person presses again, or the ledger has it.
const VARIATIONS = 4;
const PREVIEW_SIDE = 1024;
const UNNEEDED = new Set(["wait_seconds", "fresh"]);

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A seed of our own, so that the variation can be named and made again. */
function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
}

/** One order of the view: what was asked, how it stands, its pictures; shown in `element`. */
export class FollowedOrder {
  element = make("wan-order");
  #host;
  #view;
  #kind;
  #args;
  #since = Date.now();
  #facts = null;
  #status = { tone: "busy", text: "Ordering" };
  #pictures = [];
  #price = null;
  #taskId = null;
  #asking = false;
  #known = false;

  /** `args` are those of generate_image; `kind` is `given` (by the conversation) or what a person pressed. */
  constructor(view, args = {}, kind = "given") {
    this.#view = view;
    this.#host = view.host;
    this.#args = args;
    this.#kind = kind;
    this.element.addEventListener("wan-open", (event) => view.openPicture(this.#pictures, event.detail.index));
    this.element.addEventListener("wan-choose", (event) => this.#choose(event.detail.name));
    this.show();
  }

  /** Take over arguments, complete or still being written. */
  giveArguments(args) {
    if (typeof args.task_id === "string") this.#taskId = args.task_id;
    if (typeof args.prompt === "string") this.#args = args;
    if (this.#facts === null && this.#status.tone === "busy") {
      this.#status = { tone: "busy", text: this.#taskId ? "Asking for the task" : "Ordering" };
    }
    this.show();
  }

  /** Tell that the call was called off before it answered. */
  cancel() {
    if (this.#facts) return;
    const notes = ["If it had been ordered already, the images are saved all the same: ask for the recent tasks."];
    this.#end({ tone: "quiet", text: "The call was cancelled", notes });
  }

  /** Place this order, as a person asked for it. */
  async place() {
    try {
      const answer = await this.#host.callTool("generate_image", { ...this.#args, fresh: true, wait_seconds: WAIT_SECONDS });
      await this.take(answer);
    } catch (error) {
      const notes = [error.message, "It may have been ordered all the same: look at the recent tasks before ordering again."];
      this.#end({ tone: "trouble", text: "The host gave no answer", notes });
    }
  }

  /** Take the answer of a tool, follow what goes on, and fetch the pixels of what is done. */
  async take(result) {
    if (!this.#read(result)) return;
    await this.#learn();
    if (isOpen(this.#facts)) {
      if (!this.#host.canCallTools) return;
      await this.#follow();
    }
    if (!this.#view.ended && !isOpen(this.#facts)) await this.#fetchPixels();
  }

  show() {
    const { prompt, negative_prompt, model, region, seed } = this.#args;
    // Beside a picture, its caption has the size and the status the number.
    const { size, n } = this.#pictures.length ? {} : this.#args;
    const settings = {
      prompt,
      negative_prompt,
      model: this.#facts?.model ?? model,
      region: this.#facts?.region ?? region,
      seed,
      n,
      size,
    };
    const names = { given: "Order", variations: "Variations", again: "Ordered again" };
    this.element.order = {
      label: `${names[this.#kind]}: ${this.#status.text}`,
      settings,
      status: { ...this.#status, since: this.#status.tone === "busy" && this.#host.canCallTools ? this.#since : null },
      pictures: this.#pictures.length ? this.#pictures : this.#places(),
      offers: this.#offers(),
    };
  }

  /** Say whether there are facts to go on with; without, the order ends with the words of the answer. */
  #read(result) {
    const { facts, words } = readTask(result);
    if (!facts) {
      this.#end({ tone: "trouble", text: "That did not work", notes: [words || "The answer cannot be read."] });
      return false;
    }
    this.#facts = facts;
    this.#taskId = facts.task_id ?? this.#taskId;
    this.#status = taskWords(facts);
    if (isOpen(facts)) {
      if (!this.#host.canCallTools) this.#status = { ...this.#status, tone: "quiet", notes: ["Ask for the task to see the images. They are saved in any case."] };
      this.show();
      return true;
    }
    const indexes = savedIndexes(facts);
    const without = this.#host.canCallTools ? undefined : "";
    this.#pictures = (facts.images ?? []).map((image, place) => ({
      ...image,
      index: indexes[place],
      description: this.#describe(indexes[place], facts.images.length),
      busy: true,
      note: without,
    }));
    this.show();
    return true;
  }

  async #follow() {
    if (this.#asking) return;
    this.#asking = true;
    let misses = 0;
    let words = "It takes unusually long.";
    for (let asks = 0; asks < MOST_ASKS; asks += 1) {
      const began = performance.now();
      try {
        const answer = await this.#host.callTool("get_task", { task_id: this.#taskId, wait_seconds: WAIT_SECONDS });
        if (this.#view.ended) return;
        const read = readTask(answer);
        if (!read.facts) throw new Error(read.words);
        misses = 0;
        this.#read(answer);
        if (!isOpen(this.#facts)) break;
      } catch (error) {
        misses += 1;
        words = error.message;
        if (this.#view.ended || misses === MOST_MISSES) break;
      }
      await pause(Math.max(0, PAUSE_MILLISECONDS * Math.max(1, misses) - (performance.now() - began)));
      if (this.#view.ended) return;
    }
    this.#asking = false;
    if (this.#view.ended) return;
    if (isOpen(this.#facts) || misses) this.#end({ tone: "trouble", text: "No longer followed", notes: [words, "The order goes on, and its images are saved in any case."] });
    else this.#view.tellTheModel(this.#facts);
  }

  async #fetchPixels() {
    if (this.#kind !== "given" && !this.#view.told(this.#facts)) this.#view.tellTheModel(this.#facts);
    if (!this.#host.canCallTools) return;
    for (const picture of [...this.#pictures]) {
      if (this.#view.ended) return;
      let answer;
      try {
        answer = readPicture(await this.#host.callTool("view_image", { task_id: this.#taskId, index: picture.index }));
      } catch (error) {
        answer = { words: error.message };
      }
      const remark = Math.max(picture.width, picture.height) > PREVIEW_SIDE ? `preview at ${PREVIEW_SIDE} px` : "";
      const seen = answer.src ? { src: answer.src, remark } : { note: answer.words };
      this.#pictures = this.#pictures.map((each) => (each.index === picture.index ? { ...each, ...seen, busy: false } : each));
      this.show();
    }
  }

  /** Learn what was ordered, where the answer does not say: the words, the settings, the price. */
  async #learn() {
    if (this.#known || !this.#taskId || !this.#host.canReadResources) return;
    this.#known = true;
    try {
      const uri = `wan://tasks/${encodeURIComponent(this.#taskId)}`;
      const answer = await this.#host.request("resources/read", { uri });
      const { order = {} } = JSON.parse(answer.contents?.[0]?.text ?? "{}");
      if (order.arguments) this.#args = order.arguments;
      this.#price = order.price ?? null;
      const placed = Date.parse(order.created_at);
      if (this.#kind === "given" && placed < this.#since) this.#since = placed;
    } catch {
      // The view does without: it shows what it was given.
    }
    this.#pictures = this.#pictures.map((each) => ({ ...each, description: this.#describe(each.index, this.#pictures.length) }));
    this.show();
  }

  #end(status) {
    this.#status = status;
    this.show();
  }

  #describe(index, count) {
    const prompt = this.#args.prompt ?? "";
    const short = prompt.length > 160 ? `${prompt.slice(0, 160).trimEnd()}…` : prompt;
    return (count > 1 ? `Image ${index} of ${count}` : "Image") + (short ? `: ${short}` : "");
  }

  /** Places for images that are on their way. */
  #places() {
    const { prompt, size, n = 1 } = this.#args;
    if (this.#status.tone !== "busy" || !prompt) return [];
    const count = Math.min(4, Math.max(1, Math.trunc(Number(n)) || 1));
    return Array.from({ length: count }, (_, place) => ({ index: place + 1, aspect: aspectOf(size), busy: true }));
  }

  /** What a person can do next. Nothing while it is open: it may be paid for. */
  #offers() {
    if (!this.#host.canCallTools) return [];
    if (this.#facts && (isOpen(this.#facts) || isUnsaved(this.#facts))) {
      return this.#status.tone === "trouble" ? [{ name: "ask", label: "Ask again" }] : [];
    }
    if (!this.#facts || !this.#args.prompt || isRefusal(this.#facts)) return [];
    const price = priceWords(this.#price, this.#facts.region);
    const count = this.#args.n ?? 1;
    const again = { name: "again", label: "Order again", confirm: `Order ${imagesWords(count)}` };
    again.question = `Order the same ${count === 1 ? "image" : imagesWords(count)} once more? ${price}`;
    if (!this.#facts.images?.length) return [again];
    const variations = { name: "variations", label: `${VARIATIONS} variations`, confirm: `Order ${imagesWords(VARIATIONS)}` };
    variations.question = `Order ${imagesWords(VARIATIONS)} of the same words with a new seed? ${price}`;
    return [variations, again];
  }

  #choose(name) {
    if (name === "ask") {
      this.#status = { tone: "busy", text: "Asking for the task" };
      this.show();
      this.#follow().then(() => {
        if (!this.#view.ended && !isOpen(this.#facts)) this.#fetchPixels();
      });
      return;
    }
    const kept = Object.fromEntries(Object.entries(this.#args).filter(([key]) => !UNNEEDED.has(key)));
    const args = name === "variations" ? { ...kept, n: VARIATIONS, seed: newSeed() } : kept;
    this.#view.add(new FollowedOrder(this.#view, args, name)).place();
  }
}
