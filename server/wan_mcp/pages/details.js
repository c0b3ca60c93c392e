import "./buttons.js";
import { make } from "./dom.js";
import { offerOf, statusOf } from "./pictures.js";
import "./prompt.js";
import { orderAgain } from "./site.js";
import "./status.js";
import { momentWords } from "./times.js";
import { sizeWords } from "./words.js";

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

/** Make what stands beside an image of an order, or in its place; what a person orders is given to `ordered`. */
export function makeDetails(entry, ordered) {
  const status = make("wan-status", { still: true });
  status.status = statusOf(entry);
  const prompt = make("wan-prompt", { whole: true });
  prompt.settings = { prompt: entry.order?.prompt ?? "The words of this order are not known.", negative_prompt: entry.order?.negative_prompt };
  const facts = make("dl", { class: "facts-table" }, factRows(entry).map(([name, words]) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, words))));
  const rewritten = entry.actual_prompt && make("details", { class: "rewritten" }, make("summary", {}, "Prompt as the service rewrote it"), make("p", { dir: "auto" }, entry.actual_prompt));
  return make("div", { class: "details" }, status, prompt, makeOffer(entry, ordered), facts, rewritten);
}

function makeOffer(entry, ordered) {
  const offer = offerOf(entry);
  if (!offer) return null;
  const button = make("wan-confirm");
  const said = make("wan-status", { hidden: true });
  button.offer = offer;
  button.addEventListener("wan-confirm", async () => {
    button.hidden = true;
    said.hidden = false;
    said.status = { tone: "busy", text: "Ordering" };
    try {
      const order = await orderAgain(entry.id);
      const stands = statusOf(order);
      said.status = stands.tone === "busy" ? { tone: "done", text: "Ordered", notes: ["It is among those that are running."] } : stands;
      ordered(order);
    } catch (error) {
      const notes = error.lost ? [error.message, "It may have been ordered all the same: look at what is running before ordering again."] : [error.message];
      said.status = { tone: "trouble", text: "Not ordered", notes };
      if (error.lost) said.status = { tone: "trouble", text: "No answer", notes };
      button.hidden = error.lost;
    }
  });
  return make("div", { class: "again" }, button, said);
}
