import "./buttons.js";
import { make } from "./dom.js";
import { offersOf, statusOf } from "./pictures.js";
import "./prompt.js";
import { fetchAgain, orderAgain } from "./site.js";
import "./status.js";
import { momentWords } from "./times.js";
import { sizeWords } from "./words.js";

const ACTS = {
  again: {
    run: orderAgain,
    begun: "Ordering",
    done: "Ordered",
    notes: ["It is among those that are running."],
    failed: "Not ordered",
    doubt: ["It may have been ordered all the same: look at what is running before ordering again."],
  },
  fetch: { run: fetchAgain, begun: "Fetching", done: "Fetched", notes: [], failed: "Not fetched", doubt: [] },
};
const UNCHARGED = { FAILED: "nothing", CANCELED: "nothing" };

function factRows(entry) {
  const { order = {}, facts } = entry;
  return [
    ["Model", facts.model],
    ["Region", facts.region],
    ["Size ordered", order.size ? sizeWords(order.size) : null],
    ["Images", order.n > 1 ? `${order.n}` : null],
    ["Seed", order.seed ?? "chosen by the service"],
    ["Prompt rewriting", order.prompt_extend === undefined ? null : order.prompt_extend ? "on" : "off"],
    ["Watermark", order.watermark ? "on" : null],
    ["Ordered", momentWords(entry.created_at)],
    ["Cost", entry.cost ?? UNCHARGED[facts.status] ?? "not known"],
    ["Task", facts.task_id],
    ["Code", facts.code],
  ].filter(([, words]) => words !== null && words !== undefined && words !== "");
}

/** Make what stands beside an image of an order, or in its place; an order that a press has changed is given to `changed`. */
export function makeDetails(entry, changed) {
  const status = make("wan-status", { still: true });
  status.status = statusOf(entry);
  const prompt = make("wan-prompt", { whole: true });
  prompt.settings = { prompt: entry.order?.prompt ?? "The words of this order are not known.", negative_prompt: entry.order?.negative_prompt };
  const facts = make("dl", { class: "facts-table" }, factRows(entry).map(([name, words]) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, words))));
  const rewritten = entry.actual_prompt && make("details", { class: "rewritten" }, make("summary", {}, "Prompt as the service rewrote it"), make("p", { dir: "auto" }, entry.actual_prompt));
  return make("div", { class: "details" }, status, prompt, ...offersOf(entry).map((offer) => makeOffer(entry, offer, changed)), facts, rewritten);
}

function makeOffer(entry, offer, changed) {
  const act = ACTS[offer.name];
  const button = make("wan-confirm");
  const said = make("wan-status", { hidden: true });
  button.offer = offer;
  button.addEventListener("wan-confirm", async () => {
    button.hidden = true;
    said.hidden = false;
    said.status = { tone: "busy", text: act.begun };
    try {
      const order = await act.run(entry.id);
      const stands = statusOf(order);
      said.status = ["busy", "done"].includes(stands.tone) ? { tone: "done", text: act.done, notes: act.notes } : stands;
      changed(order);
    } catch (error) {
      if (error.lost) said.status = { tone: "trouble", text: "No answer", notes: [error.message, ...act.doubt] };
      else said.status = { tone: "trouble", text: act.failed, notes: [error.message] };
      button.hidden = error.lost;
    }
  });
  return make("div", { class: "again" }, button, said);
}
