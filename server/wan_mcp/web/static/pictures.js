import { imageAddress, thumbnailAddress, whyNot } from "./site.js";
import { imagesWords, isOpen, isRefusal, isUnsaved, taskWords } from "./words.js";

const SHORT_PROMPT = 160;
const FETCHABLE = /\s*If it is wanted, download_image .*/s;

/** The words of an order in a line. */
export function shortPrompt(entry) {
  const prompt = (entry.order?.prompt ?? "").replace(/\s+/g, " ").trim();
  return prompt.length > SHORT_PROMPT ? `${prompt.slice(0, SHORT_PROMPT).trimEnd()}…` : prompt;
}

/** The saved images of an order as `<wan-card>` and `<wan-lightbox>` take them; the index is unlike any other. */
export function picturesOf(entry) {
  const images = entry.facts.images ?? [];
  const prompt = shortPrompt(entry) || "An image of unknown words";
  return images.map((image, place) => {
    const index = entry.indexes[place];
    return {
      ...image,
      index: `${entry.id}/${index}`,
      description: images.length > 1 ? `Image ${place + 1} of ${images.length}: ${prompt}` : prompt,
      src: thumbnailAddress(entry.id, index),
      full: imageAddress(entry.id, index),
      why: () => whyNot(thumbnailAddress(entry.id, index)),
      lazy: true,
    };
  });
}

/** How an order stands, for a person: what a model is told to call is left out. */
export function statusOf(entry) {
  const status = taskWords(entry.facts);
  const failed = entry.facts.failed_images ?? [];
  const gone = failed.filter((image) => image.code === "FileGone").length;
  const notes = status.notes.map((note) => note.replace(FETCHABLE, " It can be fetched again, free of charge."));
  if (gone && gone === failed.length && !entry.facts.images) {
    return { tone: "quiet", text: gone === 1 ? "The file is gone" : "The files are gone", notes: [...new Set(notes)] };
  }
  return { ...status, notes };
}

/** What a person can press for an order that has ended; what costs money asks first. */
export function offersOf(entry) {
  return [fetchOf(entry), againOf(entry)].filter(Boolean);
}

/** What a person can press for an order that goes on. */
export function cancelOf(entry) {
  return entry.facts.status === "PENDING" ? [{ name: "cancel", label: "Cancel order" }] : [];
}

function fetchOf(entry) {
  const gone = (entry.facts.failed_images ?? []).filter((image) => image.code === "FileGone" && FETCHABLE.test(image.message));
  return gone.length ? { name: "fetch", label: gone.length === 1 ? "Fetch the file again" : "Fetch the files again" } : null;
}

/** Nothing is ordered again while it may be paid for, or would be refused again. */
function againOf(entry) {
  if (!entry.order || isOpen(entry.facts) || isUnsaved(entry.facts) || isRefusal(entry.facts)) return null;
  const count = imagesWords(entry.order.n ?? 1);
  return {
    name: "again",
    label: "Order again",
    question: `Order ${count} with the same settings? Cost: ${entry.cost_again}.`,
    confirm: `Order ${count}`,
  };
}
