// What tools answer, read with care: a host may hand over the facts, only their text, or something else.

function textOf(result) {
  const texts = (result?.content ?? []).filter((part) => part?.type === "text").map((part) => String(part.text));
  return texts.join("\n").trim();
}

function isTask(value) {
  return typeof value === "object" && value !== null && typeof value.status === "string";
}

/** Read the answer of a tool that answers with a task: `{facts}`, or `{words}` where there are none. */
export function readTask(result) {
  if (isTask(result?.structuredContent)) return { facts: result.structuredContent };
  const text = textOf(result);
  try {
    const facts = JSON.parse(text);
    if (isTask(facts)) return { facts };
  } catch {
    // Plain words, then.
  }
  return { words: text.replace(/^Error executing tool \w+: /, "") };
}

/** Read the answer of view_image: `{src}`, or `{words}` where it shows nothing. */
export function readPicture(result) {
  const part = (result?.content ?? []).find((each) => each?.type === "image");
  const sound = part && /^image\/(jpeg|webp|png)$/.test(part.mimeType) && /^[A-Za-z0-9+/]+={0,2}$/.test(part.data);
  if (sound) return { src: `data:${part.mimeType};base64,${part.data}` };
  return { words: textOf(result) || "There is no preview." };
}

/** The indexes of saved images: they count from 1 and leave out those of the failed ones. */
export function savedIndexes(facts) {
  const failed = new Set((facts.failed_images ?? []).map((image) => image.index));
  const indexes = [];
  for (let index = 1; indexes.length < (facts.images?.length ?? 0); index += 1) {
    if (!failed.has(index)) indexes.push(index);
  }
  return indexes;
}
