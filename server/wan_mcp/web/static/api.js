// What the gallery's page asks of the program that serves it. Addresses are relative: the page's own one holds the
// secret, or what a proxy has put before it.

/** The name of who has signed in; undefined for the user of the machine, who need not. */
export const person = document.body.dataset.person;

/** Say whether this person may do something here: `order` or `cancel`. */
export function may(right) {
  return (document.body.dataset.rights ?? "").split(" ").includes(right);
}

const OUTSIDE = "Its folder is none that the gallery may read. Add it to WAN_MCP_ALLOWED_DIRS, and start the gallery again.";

/**
 * Raised when a request fails, in the program's own words: `shortMessage` is without its advice. `isUnreachable` says
 * that the program gave no answer at all; `facts` are what it answered.
 */
export class ApiError extends Error {
  constructor(message, { isUnreachable = false, shortMessage = message, status = 0, facts = {} } = {}) {
    super(message);
    Object.assign(this, { isUnreachable, shortMessage, status, facts });
  }
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", redirect: "error", ...options });
  } catch {
    throw new ApiError(person === undefined ? "The gallery gives no answer. Start it again: wan-mcp gallery" : "The server gives no answer. Try again in a moment.", { isUnreachable: true });
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const isUnreachable = answer.status === 404 && !body.message;
  throw new ApiError([body.message, body.advice].filter(Boolean).join(" ") || `The gallery answered with ${answer.status}.`, { isUnreachable, shortMessage: body.message, status: answer.status, facts: body });
}

function send(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

function post(id, action, body = {}) {
  return send(`orders/${encodeURIComponent(id)}/${action}`, body);
}

/** Sign in with the ticket of a link, which works once; while somebody else is signed in, only with `replace`. */
export function signIn(ticket, replace = false) {
  return send("session", { ticket, replace });
}

/** Ask who is signed in in this browser: `person` is their name, if anybody is. */
export function readSession() {
  return request("session");
}

/** End the session of this browser. */
export function signOut() {
  return send("sign-out");
}

/** Read JSON; parameters that are empty are left out. */
export function read(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return request(given.length ? `${path}?${new URLSearchParams(given)}` : path);
}

/** A key for one press of a button: it makes sure that a request which arrives twice is one order. */
function newKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("-");
}

/** Order once more with the settings of an order. */
export function orderAgain(id) {
  return post(id, "again", { idempotency_key: newKey() });
}

/** Order a change, in words, of one image of an order. */
export function orderEdit(id, index, prompt) {
  return post(id, `edit/${index}`, { idempotency_key: newKey(), prompt });
}

/** Ask by what model a change of an image would be made, and what it costs. */
export function quoteEdit(id, index) {
  return request(`orders/${encodeURIComponent(id)}/edit/${index}`);
}

/** Cancel an order that has not begun. */
export function cancelOrder(id) {
  return post(id, "cancel");
}

/** Fetch the files of an order that are gone again. */
export function fetchAgain(id) {
  return post(id, "fetch");
}

/** Say why the picture at an address cannot be shown; an empty text if it can. */
export async function explainFailure(address) {
  try {
    await request(address);
    return "";
  } catch (error) {
    return error.status === 403 && person === undefined ? OUTSIDE : error.shortMessage;
  }
}

export function thumbnailAddress(id, index) {
  return `thumbnails/${encodeURIComponent(id)}/${index}`;
}

/** The thumbnail of what an order was made from; a file may change, so nothing of it is kept. */
export function inputAddress(id, number) {
  return `inputs/${encodeURIComponent(id)}/${number}`;
}

export function imageAddress(id, index) {
  return `images/${encodeURIComponent(id)}/${index}`;
}
