// The way into the gallery where people sign in: takes the ticket out of the page's address and gives it up for a session.

import { readSession, signIn } from "./api.js";
import { make } from "./dom.js";

const NO_TICKET = "Ask your agent for a link to the gallery. It works once, within five minutes.";
const CONFLICT = 409;
const TRIED = "wan-tried-to-go-on";
const TRIED_MILLISECONDS = 10_000;

const show = (title, advice = "", ...buttons) => {
  document.querySelector(".empty-title").textContent = title;
  document.querySelector(".advice").textContent = advice;
  document.querySelector(".choice").replaceChildren(...buttons);
};
const toGallery = () => location.replace("./");

async function enter(ticket, replace = false) {
  show("Opening the gallery");
  try {
    await signIn(ticket, replace);
    toGallery();
  } catch (error) {
    if (error.status === CONFLICT) ask(ticket, error.facts);
    else show("The gallery stays closed.", error.message);
  }
}

/** Somebody else is signed in here: a link that others have sent must not put one into their gallery unasked. */
function ask(ticket, { person, next }) {
  const yes = make("button", { type: "button", onclick: () => enter(ticket, true) }, `Sign in as ${next}`);
  const no = make("button", { type: "button", class: "strong", onclick: toGallery }, `Stay signed in as ${person}`);
  show(`This link opens the gallery of ${next}.`, `You are signed in here as ${person}. What you order in another one's gallery is theirs.`, no, yes);
  no.focus();
}

/** Say whether the page was left for the gallery just now, and came back: going on once more would have no end. */
function wasTried() {
  try {
    const before = Number(sessionStorage.getItem(TRIED));
    sessionStorage.setItem(TRIED, String(Date.now()));
    return Date.now() - before < TRIED_MILLISECONDS;
  } catch {
    return true;
  }
}

/** From a page of another site, such as mail, a browser leads here without the session: a page of ours gets it. */
async function goOn() {
  show("Opening the gallery");
  const { person } = await readSession().catch(() => ({}));
  if (person === undefined) show("You are not signed in.", NO_TICKET);
  else if (wasTried()) show(`You are signed in as ${person}.`, "", make("button", { type: "button", class: "strong", onclick: toGallery }, "Open the gallery"));
  else toGallery();
}

const given = location.hash.slice(1);
// It shall stay in no history.
history.replaceState(null, "", location.pathname);
if (given) enter(given);
else goOn();
