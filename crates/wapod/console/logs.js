// Follows the log of one app: lines come as a stream, are kept up to a number,
// and are shown as far as level and filter let them through.

import { byId, copy, h, setShown, setText } from "./dom.js";
import { formatClock } from "./format.js";
import { followLog } from "./rpc.js";

/** Lines that the page keeps; older ones go. The worker keeps about as many. */
const LINES_MAX = 2000;
/** Lines from before that are asked for: all that the worker keeps. */
const TAIL = 1000;
/** First and longest pause before the stream is opened again. */
const AGAIN_MS = 1000;
const AGAIN_MS_MAX = 15_000;
/** So close to the end, the reader wants to see what comes. */
const AT_END_PX = 40;

const RANKS = { error: 1, warn: 2, info: 3, debug: 4, trace: 5 };

let address = null;
let controller = null;
let lines = [];
let last = { seq: -1, time_ms: 0 };
let isPaused = false;
/** Lines that came and are not on the page yet. */
let waiting = [];
let isDrawing = false;

const status = (text) => setText(byId("log-status"), text);

function passes(line) {
  if (line.missed) return true;
  const rank = RANKS[byId("log-level").value];
  const words = byId("log-filter").value.trim().toLowerCase();
  return (RANKS[line.level] ?? RANKS.info) <= rank && (words === "" || line.text.toLowerCase().includes(words));
}

function element(line) {
  if (line.missed) {
    return h("div", { class: "line", "data-level": "missed" }, `${line.missed} lines were left out: they came faster than they could be sent.`);
  }
  return h("div", { class: "line", "data-level": line.level, "data-seq": line.seq },
    h("time", { datetime: new Date(line.time_ms).toISOString() }, formatClock(line.time_ms)),
    h("span", { class: "level" }, line.level),
    h("span", { class: "source" }, `${line.source}${line.instance === undefined ? "" : ` #${line.instance}`}`),
    h("span", { class: "text" }, line.text));
}

function draw() {
  isDrawing = false;
  const box = byId("log-lines");
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < AT_END_PX;
  box.append(...waiting.filter(passes).map(element));
  waiting = [];
  while (box.childElementCount > LINES_MAX) box.firstElementChild.remove();
  setShown(byId("log-empty"), lines.length === 0);
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}

function drawSoon() {
  if (isPaused) {
    status(`paused, ${waiting.length} new ${waiting.length === 1 ? "line" : "lines"}`);
  } else if (!isDrawing) {
    isDrawing = true;
    // Not by frame: a hidden tab has none, and would draw all of it at once later.
    setTimeout(draw, 50);
  }
}

function drawAgain() {
  byId("log-lines").replaceChildren();
  waiting = [...lines];
  draw();
  byId("log-lines").scrollTop = byId("log-lines").scrollHeight;
}

function receive(event, data) {
  if (event !== "message" && event !== "missed") return;
  if (event === "message") {
    // After a break, the tail brings lines that are here already.
    if (data.seq <= last.seq && data.time_ms <= last.time_ms) return;
    last = data;
  }
  for (const list of [lines, waiting]) {
    list.push(data);
    if (list.length > LINES_MAX) list.shift();
  }
  drawSoon();
}

function followed() {
  if (isPaused) return;
  status("following");
}

async function follow(own) {
  let pauseMs = AGAIN_MS;
  while (!own.signal.aborted) {
    try {
      const onOpen = () => {
        pauseMs = AGAIN_MS;
        followed();
      };
      await followLog(address, { tail: TAIL, signal: own.signal, onOpen }, (event, data) => {
        if (!own.signal.aborted) receive(event, data);
      });
      status("The stream has ended, opening it again");
    } catch (error) {
      if (own.signal.aborted) return;
      if (error.status >= 400 && error.status < 500) {
        status(error.message);
        return;
      }
      status(`The stream broke off, trying again in ${Math.round(pauseMs / 1000)} s`);
    }
    await new Promise((resolve) => { setTimeout(resolve, pauseMs); });
    pauseMs = Math.min(pauseMs * 2, AGAIN_MS_MAX);
  }
}

/** Opens the stream, unless nobody would see what it brings. */
function openStream() {
  controller?.abort();
  if (document.visibilityState !== "visible") return;
  controller = new AbortController();
  follow(controller);
}

/** Follows the log of an app, unless it is followed already. */
export function openLog(newAddress) {
  if (address === newAddress) return;
  closeLog();
  address = newAddress;
  lines = [];
  last = { seq: -1, time_ms: 0 };
  setPaused(false);
  status("connecting");
  drawAgain();
  openStream();
}

/** Ends the stream. */
export function closeLog() {
  controller?.abort();
  controller = null;
  address = null;
}

function setPaused(value) {
  isPaused = value;
  const button = byId("log-pause");
  button.setAttribute("aria-pressed", value);
  setText(button, value ? "Go on" : "Pause");
}

/** What the page shows, as text. */
function shownText() {
  return lines.filter(passes).map((line) => (line.missed
    ? `(${line.missed} lines left out)`
    : `${new Date(line.time_ms).toISOString()} ${line.level.toUpperCase().padEnd(5)} ${line.source} ${line.text}`)).join("\n");
}

/** Connects the controls. */
export function startLogs() {
  // A browser has few connections to one server; hidden tabs must not hold them.
  document.addEventListener("visibilitychange", () => {
    if (address === null) return;
    if (document.visibilityState === "visible") openStream();
    else controller?.abort();
  });
  byId("log-pause").addEventListener("click", () => {
    setPaused(!isPaused);
    if (isPaused) {
      status("paused");
    } else {
      followed();
      draw();
    }
  });
  byId("log-clear").addEventListener("click", () => {
    lines = [];
    waiting = [];
    drawAgain();
  });
  byId("log-copy").addEventListener("click", () => copy(shownText(), "the log"));
  byId("log-level").addEventListener("change", drawAgain);
  byId("log-filter").addEventListener("input", drawAgain);
}
