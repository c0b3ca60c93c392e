// An order of the gallery as the elements take it, and what stands beside its images.

import { explainFailure, fetchAgain, imageAddress, inputAddress, may, orderAgain, orderEdit, quoteEdit, thumbnailAddress } from "./api.js";
import "./buttons.js";
import { make } from "./dom.js";
import "./edit_form.js";
import { formatDateAndTime, formatImages, formatSize } from "./format.js";
import "./order.js";
import { toStatus } from "./task.js";

const SHORT_PROMPT = 160;
const ACTIONS = {
  again: {
    run: orderAgain,
    runningText: "Ordering",
    doneText: "Ordered",
    notes: ["It is among those that are running."],
    failedText: "Not ordered",
    doubtNotes: ["It may have been ordered all the same: look at what is running before ordering again."],
  },
  fetch: { run: fetchAgain, runningText: "Fetching", doneText: "Fetched", notes: [], failedText: "Not fetched", doubtNotes: [] },
};
const UNCHARGED = { FAILED: "nothing", CANCELED: "nothing" };

/** The prompt of an order in a line. */
export function shortPrompt(order) {
  const prompt = (order.request?.prompt ?? "").replace(/\s+/g, " ").trim();
  return prompt.length > SHORT_PROMPT ? `${prompt.slice(0, SHORT_PROMPT).trimEnd()}…` : prompt;
}

/** The saved images of an order as `<wan-card>` and `<wan-lightbox>` take them; the index is unlike any other. */
export function toPictures(order) {
  const images = order.task.images ?? [];
  const prompt = shortPrompt(order) || "An image whose prompt is not known";
  return images.map((image, position) => {
    const index = order.image_indexes[position];
    return {
      ...image,
      index: `${order.id}/${index}`,
      number: index,
      description: images.length > 1 ? `Image ${position + 1} of ${images.length}: ${prompt}` : prompt,
      src: thumbnailAddress(order.id, index),
      full: imageAddress(order.id, index),
      download: image.path ? null : imageAddress(order.id, index),
      explain: () => explainFailure(thumbnailAddress(order.id, index)),
      lazy: true,
    };
  });
}

/** How an order stands, for a person. */
export function toOrderStatus(order) {
  const status = toStatus(order.task);
  const failed = order.task.failed_images ?? [];
  if (failed.length && !order.task.images && failed.every((image) => image.code === "FileGone")) {
    return { tone: "quiet", text: failed.length === 1 ? "The file is gone" : "The files are gone", notes: [...new Set(status.notes)] };
  }
  return status;
}

/** What a person can do with an order that goes on. */
export function listOpenActions(order) {
  return may("cancel") && order.task.status === "PENDING" ? [{ name: "cancel", label: "Cancel order" }] : [];
}

function makeFetchAction(order) {
  const count = (order.task.failed_images ?? []).filter((image) => image.can_fetch_again).length;
  return count ? { name: "fetch", label: count === 1 ? "Fetch the file again" : "Fetch the files again" } : null;
}

/** Nothing is ordered again while it may be paid for, or would be refused again. What costs money asks first. */
function makeAgainAction(order) {
  const { is_waiting, is_unsaved, is_refusal } = order.task;
  if (!may("order") || !order.request || is_waiting || is_unsaved || is_refusal) return null;
  const count = formatImages(order.request.n ?? 1);
  return {
    name: "again",
    label: "Order again",
    question: `Order ${count} with the same settings? Cost: ${order.cost_again}.`,
    confirm: `Order ${count}`,
  };
}

function listProperties(order) {
  const { request = {}, task } = order;
  return [
    ["Model", task.model],
    ["Region", task.region],
    ["Size ordered", request.size ? formatSize(request.size) : null],
    ["Images", request.n > 1 ? `${request.n}` : null],
    ["Seed", request.seed ?? "chosen by the service"],
    ["Prompt rewriting", request.prompt_extend === undefined ? null : request.prompt_extend ? "on" : "off"],
    ["Watermark", request.watermark ? "on" : null],
    ["Ordered", formatDateAndTime(order.created_at)],
    ["Ordered by", order.person],
    ["Cost", order.cost ?? UNCHARGED[task.status] ?? "not known"],
    ["Task", task.task_id],
    ["Code", task.code],
  ].filter(([, text]) => text !== null && text !== undefined && text !== "");
}

/**
 * Make what stands beside an image of an order, or in its place; an order that an action has changed is given to
 * `changed`. `index` is that of the image, if there is one: it can be used as input.
 */
export function makeDetails(order, changed, index = null) {
  const status = make("wan-status", { still: true });
  status.status = toOrderStatus(order);
  const prompt = make("wan-prompt");
  prompt.settings = { prompt: order.request?.prompt ?? "The prompt of this order is not known.", negative_prompt: order.request?.negative_prompt };
  const actions = [makeFetchAction(order), makeAgainAction(order)].filter(Boolean).map((action) => makeActionButton(order, action, changed));
  const edit = index === null || !may("order") ? null : makeEditForm(order, index, changed);
  const properties = make("dl", { class: "properties" }, listProperties(order).map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, text))));
  const copy = order.request?.prompt && makeCopy("Copy prompt", order.request.prompt, prompt.textElement);
  return make("div", { class: "details" }, status, make("div", { class: "words" }, prompt, copy), makeInputs(order), edit, ...actions, properties, order.actual_prompt && makeRewritten(order.actual_prompt));
}

/** Make a button that copies words which `source` shows. */
export function makeCopy(label, text, source) {
  const copy = make("wan-copy");
  Object.assign(copy, { text, label, findSource: () => source });
  return copy;
}

/** What an order was made from: thumbnails of files and of earlier images; of an address in the web, the host alone. */
function makeInputs(order) {
  if (!order.inputs?.length) return null;
  const tiles = order.inputs.map(({ number, name, has_thumbnail }) => {
    const note = make("p", { class: "input-note", hidden: has_thumbnail }, has_thumbnail ? "Not here any more" : "On the web");
    const image = has_thumbnail ? make("img", { src: inputAddress(order.id, number), alt: `Input ${number}: ${name}`, decoding: "async", loading: "lazy" }) : null;
    image?.addEventListener("error", async () => {
      image.hidden = true;
      note.hidden = false;
      note.textContent = (await explainFailure(inputAddress(order.id, number))) || note.textContent;
    });
    return make("li", {}, image, note, make("p", { class: "input-name", dir: "auto", title: name }, `${number}. ${name}`));
  });
  return make("section", { class: "inputs", "aria-label": "Made from" }, make("h3", {}, "Made from"), make("ol", {}, tiles));
}

/** Make the place where a change of an image is ordered. */
function makeEditForm(order, index, changed) {
  const form = make("wan-edit");
  const outcome = make("wan-status", { hidden: true });
  form.findNote = async () => {
    const { model, region, cost } = await quoteEdit(order.id, index);
    return `By ${model} in ${region}. Cost: ${cost}.`;
  };
  form.addEventListener("wan-edit", async ({ detail }) => {
    form.hidden = true;
    outcome.hidden = false;
    outcome.status = { tone: "busy", text: "Ordering" };
    try {
      const after = await orderEdit(order.id, index, detail.prompt);
      const status = toOrderStatus(after);
      outcome.status = ["busy", "done"].includes(status.tone) ? { tone: "done", text: ACTIONS.again.doneText, notes: ACTIONS.again.notes } : status;
      form.clear();
      form.hidden = false;
      changed(after);
    } catch (error) {
      outcome.status = error.isUnreachable ? { tone: "trouble", text: "No answer", notes: [error.message, ...ACTIONS.again.doubtNotes] } : { tone: "trouble", text: ACTIONS.again.failedText, notes: [error.message] };
      form.hidden = error.isUnreachable;
    }
  });
  return make("div", { class: "action" }, form, outcome);
}

function makeRewritten(text) {
  const words = make("p", { dir: "auto" }, text);
  return make("details", { class: "rewritten" }, make("summary", {}, "Prompt as the service rewrote it"), words, makeCopy("Copy rewritten prompt", text, words));
}

function makeActionButton(order, action, changed) {
  const { run, runningText, doneText, notes, failedText, doubtNotes } = ACTIONS[action.name];
  const button = make("wan-confirm");
  const outcome = make("wan-status", { hidden: true });
  button.action = action;
  button.addEventListener("wan-confirm", async () => {
    button.hidden = true;
    outcome.hidden = false;
    outcome.status = { tone: "busy", text: runningText };
    try {
      const after = await run(order.id);
      const status = toOrderStatus(after);
      outcome.status = ["busy", "done"].includes(status.tone) ? { tone: "done", text: doneText, notes } : status;
      changed(after);
    } catch (error) {
      if (error.isUnreachable) outcome.status = { tone: "trouble", text: "No answer", notes: [error.message, ...doubtNotes] };
      else outcome.status = { tone: "trouble", text: failedText, notes: [error.message] };
      button.hidden = error.isUnreachable;
    }
  });
  return make("div", { class: "action" }, button, outcome);
}
