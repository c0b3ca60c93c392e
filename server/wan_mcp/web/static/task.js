// Tasks as the tools answer with them: read with care, for a host may hand over the task, only its text, or something
// else; and how a task stands, for a person.

import { endSentence, formatImages, toCapital } from "./format.js";

const TASK_FACTS = "wan-mcp/task";

function textOf(result) {
  const texts = (result?.content ?? []).filter((part) => part?.type === "text").map((part) => String(part.text));
  return texts.join("\n").trim();
}

function isTask(value) {
  return typeof value === "object" && value !== null && typeof value.status === "string";
}

/** The facts of a task where none are handed over: it goes on if a step is next and nothing has failed. */
function deriveFacts(task, isError) {
  const isUnsaved = task.failed_images?.some((image) => image.url) ?? false;
  return { is_waiting: Boolean(task.next_step) && !isError && !isUnsaved, is_unsaved: isUnsaved };
}

function parseTask(result) {
  if (isTask(result?.structuredContent)) return result.structuredContent;
  try {
    const task = JSON.parse(textOf(result));
    return isTask(task) ? task : null;
  } catch {
    return null;
  }
}

/**
 * Read the answer of a tool that answers with a task: `{text}` where there is none, else `{task}`, with the facts that
 * our server adds for pages: whether it `is_waiting` for the service, `is_unsaved`, or `is_refusal`.
 */
export function readTask(result) {
  const task = parseTask(result);
  if (task) return { task: { ...task, ...(result._meta?.[TASK_FACTS] ?? deriveFacts(task, result.isError)) } };
  return { text: textOf(result).replace(/^Error executing tool \w+: /, "") };
}

/** Read the answer of view_image: `{src}`, or `{text}` where it shows nothing. */
export function readPicture(result) {
  const part = (result?.content ?? []).find((each) => each?.type === "image");
  const isSafe = part && /^image\/(jpeg|webp|png)$/.test(part.mimeType) && /^[A-Za-z0-9+/]+={0,2}$/.test(part.data);
  if (isSafe) return { src: `data:${part.mimeType};base64,${part.data}` };
  return { text: textOf(result) || "There is no preview." };
}

/** The indexes of saved images: they count from 1 and leave out those of the failed ones. */
export function listSavedIndexes(task) {
  const failed = new Set((task.failed_images ?? []).map((image) => image.index));
  const indexes = [];
  for (let index = 1; indexes.length < (task.images?.length ?? 0); index += 1) {
    if (!failed.has(index)) indexes.push(index);
  }
  return indexes;
}

const OPEN_TEXTS = {
  PENDING: "Waiting at the service",
  RUNNING: "Painting",
  SUCCEEDED: "Saving",
  SUBMIT_UNKNOWN: "Looking for the order",
};

const FINAL_STATUSES = {
  CANCELED: ["quiet", "Cancelled", "Nothing was painted."],
  EXPIRED: ["trouble", "Not saved in time", "The service keeps its results for 24 hours, and they are over."],
  UNKNOWN: ["trouble", "Unknown to the service", ""],
  SUBMIT_UNKNOWN: ["trouble", "Unclear whether it was ordered", "Order again only if a second charge is acceptable."],
};

function describeFailure({ index, message, code, can_fetch_again }) {
  const reason = endSentence(message || code || "It is not known why.");
  return `Image ${index}: ${reason}${can_fetch_again ? " It can be fetched again, free of charge." : ""}`;
}

/** How a task stands as `<wan-status>` takes it. */
export function toStatus(task) {
  const saved = task.images?.length ?? 0;
  const failed = task.failed_images?.length ?? 0;
  const notes = task.message ? [task.message] : [];
  if (task.is_waiting) {
    if (task.status === "SUBMIT_UNKNOWN") notes.push("Do not order again meanwhile: it may be paid for.");
    return { tone: "busy", text: OPEN_TEXTS[task.status] ?? task.status, notes };
  }
  if (task.status === "SUCCEEDED") {
    notes.push(...(task.failed_images ?? []).map(describeFailure));
    const [they, them] = failed === 1 ? ["It is", "it"] : ["They are", "them"];
    if (task.is_unsaved) notes.push(`${they} paid for, and saving is tried again: do not order ${them} again.`);
    if (failed && !saved) return { tone: "trouble", text: failed === 1 ? "The image was not saved" : `None of ${formatImages(failed)} saved`, notes };
    if (failed) return { tone: "trouble", text: `${saved} of ${formatImages(saved + failed)} saved`, notes };
    return { tone: "done", text: toCapital(`${formatImages(saved)} saved`), notes };
  }
  if (task.status === "FAILED") {
    if (!task.is_refusal) return { tone: "trouble", text: "The order failed", notes };
    if (!notes.length) notes.push("The same words would be refused again: change the prompt.");
    return { tone: "trouble", text: "Refused by the service's inspection", notes };
  }
  const [tone, text, note] = FINAL_STATUSES[task.status] ?? ["trouble", task.status, task.next_step];
  return { tone, text, notes: note ? [...notes, note] : notes };
}
