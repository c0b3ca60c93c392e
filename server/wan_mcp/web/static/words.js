// Facts in words.

/** `1280*1280` and `1280x1280` as people write them. */
export function sizeWords(size) {
  return String(size).replace(/^(\d+)\s*[*xX]\s*(\d+)$/, "$1 × $2");
}

/** Bytes as a file manager shows them. */
export function bytesWords(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Whole seconds as a clock beside a wait. */
export function secondsWords(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A number of something, as people of this language write it. */
export function countWords(count, name) {
  return `${count.toLocaleString()} ${name}${count === 1 ? "" : "s"}`;
}

/** A number of images. */
export function imagesWords(count) {
  return count === 1 ? "1 image" : `${count} images`;
}

/** The last part of a path of any system. */
export function fileName(path) {
  return path.split(/[\\/]/).pop() || path;
}

/** Width by height of what was asked for, 1 where it does not say. */
export function aspectOf(size) {
  const [, width, height] = /^\s*(\d{1,5})\s*[*xX:]\s*(\d{1,5})\s*$/.exec(String(size ?? "")) ?? [];
  const aspect = Number(width) / Number(height);
  return Number.isFinite(aspect) && aspect > 0 ? Math.min(4, Math.max(0.25, aspect)) : 1;
}

/** What one image costs, in a sentence. `price` has an amount, a currency and the month that it is of. */
export function priceWords(price, region) {
  if (region === "sandbox") return "The sandbox is free.";
  if (!price) return "Each image costs money.";
  return `List price ${price.amount} ${price.currency} an image (${price.as_of}).`;
}

const WAITING = {
  PENDING: "Waiting at the service",
  RUNNING: "Painting",
  SUCCEEDED: "Saving",
  SUBMIT_UNKNOWN: "Looking for the order",
};

const ENDED = {
  CANCELED: ["quiet", "Cancelled", "Nothing was painted."],
  EXPIRED: ["trouble", "Not saved in time", "The service keeps its results for 24 hours, and they are over."],
  UNKNOWN: ["trouble", "Unknown to the service", ""],
  SUBMIT_UNKNOWN: ["trouble", "Unclear whether it was ordered", "Order again only if a second charge is acceptable."],
};

/** Whether the facts of a task say that it goes on. */
export function isOpen(facts) {
  return facts.status === "PENDING" || facts.status === "RUNNING" || /wait_seconds=/.test(facts.next_step ?? "");
}

/** Whether images exist that could not be saved yet: they are paid for, and saving is tried again. */
export function isUnsaved(facts) {
  return facts.failed_images?.some((image) => image.url) ?? false;
}

/** Whether the service's inspection refused an order: the same words would be refused again. */
export function isRefusal(facts) {
  return /inspection|infringe|inappropriate|sensitive/i.test(facts.code ?? "");
}

/** A task as a line of status: its tone (`busy`, `done`, `quiet` or `trouble`), a few words, and what else to know. */
export function taskWords(facts) {
  const saved = facts.images?.length ?? 0;
  const failed = facts.failed_images?.length ?? 0;
  // The advice to pass an argument is for a model; a person has buttons.
  const message = facts.message?.replace(/\s*Pass fresh=true [^.]*\./, "");
  const notes = message ? [message] : [];
  if (isOpen(facts)) {
    if (facts.status === "SUBMIT_UNKNOWN") notes.push("Do not order again meanwhile: it may be paid for.");
    return { tone: "busy", text: WAITING[facts.status] ?? facts.status, notes };
  }
  if (facts.status === "SUCCEEDED") {
    notes.push(...(facts.failed_images ?? []).map((image) => `Image ${image.index}: ${image.message || image.code}`));
    if (isUnsaved(facts)) notes.push("It is paid for, and saving is tried again: do not order it again.");
    if (failed) return { tone: "trouble", text: `${saved} of ${imagesWords(saved + failed)} saved`, notes };
    return { tone: "done", text: `${imagesWords(saved)} saved`, notes };
  }
  if (facts.status === "FAILED") {
    if (!isRefusal(facts)) return { tone: "trouble", text: "The order failed", notes };
    if (!notes.length) notes.push("The same words would be refused again: change the prompt.");
    return { tone: "trouble", text: "Refused by the service's inspection", notes };
  }
  const [tone, text, note] = ENDED[facts.status] ?? ["trouble", facts.status, facts.next_step];
  return { tone, text, notes: note ? [...notes, note] : notes };
}
