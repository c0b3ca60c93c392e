// What the page asks of the program that serves it. Addresses are relative: the page's own one holds the secret.

const OUTSIDE = "Its folder is none that the gallery may read. Add it to WAN_MCP_ALLOWED_DIRS, and start the gallery again.";

/**
 * The program's own words for what went wrong: `said` without its advice, which may be for a model. `lost` says that it
 * gave no answer at all.
 */
export class SiteError extends Error {
  constructor(message, { lost = false, said = message, status = 0 } = {}) {
    super(message);
    Object.assign(this, { lost, said, status });
  }
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", redirect: "error", ...options });
  } catch {
    throw new SiteError("The gallery gives no answer. Start it again: wan-mcp gallery", { lost: true });
  }
  const facts = await answer.json().catch(() => ({}));
  if (answer.ok) return facts;
  const lost = answer.status === 404 && !facts.message;
  throw new SiteError([facts.message, facts.advice].filter(Boolean).join(" ") || `The gallery answered with ${answer.status}.`, { lost, said: facts.message, status: answer.status });
}

function act(id, name, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return request(`orders/${encodeURIComponent(id)}/${name}`, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Read facts; parameters that are empty are left out. */
export function read(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return request(given.length ? `${path}?${new URLSearchParams(given)}` : path);
}

/** Order once more with the settings of an order. The name of the press makes sure that it is one order. */
export function orderAgain(id) {
  const press = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("-");
  return act(id, "again", { press });
}

/** Cancel an order that has not begun. */
export function cancelOrder(id) {
  return act(id, "cancel");
}

/** Fetch the files of an order that are gone again. */
export function fetchAgain(id) {
  return act(id, "fetch");
}

/** Why the picture at an address cannot be shown; no words if it can. */
export async function whyNot(address) {
  try {
    await request(address);
    return "";
  } catch (error) {
    return error.status === 403 ? OUTSIDE : error.said;
  }
}

export function thumbnailAddress(id, index) {
  return `thumbnails/${encodeURIComponent(id)}/${index}`;
}

export function imageAddress(id, index) {
  return `images/${encodeURIComponent(id)}/${index}`;
}
