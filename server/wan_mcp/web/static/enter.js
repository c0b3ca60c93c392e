// The way into the gallery where people sign in: takes the ticket out of the page's address and gives it up for a session.

import { signIn } from "./api.js";

const NO_TICKET = "Ask your agent for a link to the gallery. It works once, within five minutes.";

const show = (title, advice = "") => {
  document.querySelector(".empty-title").textContent = title;
  document.querySelector(".advice").textContent = advice;
};

async function enter() {
  const ticket = location.hash.slice(1);
  // It shall stay in no history.
  history.replaceState(null, "", location.pathname);
  if (!ticket) {
    show("You are not signed in.", NO_TICKET);
    return;
  }
  show("Opening the gallery");
  try {
    await signIn(ticket);
    location.replace("./");
  } catch (error) {
    show("The gallery stays closed.", error.message);
  }
}

enter();
