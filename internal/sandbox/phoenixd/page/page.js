// Keeps the page up to date: the server says that something changed, the page
// asks for itself anew, and what is new is shown as such for a moment.
"use strict";

const live = document.currentScript.dataset.live;
const state = document.getElementById("state");
const instance = document.documentElement.dataset.instance;

// Times are sent in UTC and shown in the reader's zone.
function localise(root) {
  for (const t of root.querySelectorAll("time")) {
    const d = new Date(t.dateTime);
    const today = d.toDateString() === new Date().toDateString();
    t.textContent = today ? d.toLocaleTimeString() : d.toLocaleString();
    t.title = d.toISOString();
  }
}

function keyed(root) {
  return new Map([...root.querySelectorAll("[data-key]")].map((e) => [e.dataset.key, e]));
}

function replace(next) {
  const main = document.querySelector("main");
  const before = keyed(main);
  localise(next);
  for (const [key, e] of keyed(next)) {
    const old = before.get(key);
    if (e.tagName === "DETAILS") {
      if (old) e.open = old.open;
    } else if (!old || (e.tagName === "LI" && old.textContent !== e.textContent)) {
      e.classList.add("fresh");
    } else if (old.classList.contains("fresh")) {
      e.classList.add("fresh"); // its moment is not over
    }
  }
  main.replaceWith(next);
  setTimeout(() => next.querySelectorAll(".fresh").forEach((e) => e.classList.remove("fresh")), 3000);
}

let busy = false, again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("main");
    if (page.documentElement.dataset.instance !== instance) location.reload();
    else if (next) replace(document.importNode(next, true));
  } catch { /* the stream notices it, too, and says so */ }
  busy = false;
  if (again) { again = false; refresh(); }
}

let source = null;
function listen() {
  if (source) return;
  source = new EventSource(live);
  source.onopen = () => { state.textContent = ""; };
  source.onmessage = refresh;
  source.onerror = () => { state.textContent = "The stand-in does not answer; waiting for it."; };
}

// A page that nobody sees holds no connection: a browser has few for one host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); source = null; } else listen();
});

localise(document);
const asked = document.querySelector(".asked");
if (asked && asked.getBoundingClientRect().top > innerHeight / 2) asked.scrollIntoView({ block: "start" });
if (!document.hidden) listen();
