// The log of one app: lines come as a stream, are kept up to a number, and are shown
// as far as level and filter let them through.

import { byId, copy, h, setShown, setText } from "./dom.js";
import { formatClock } from "./format.js";
import { LogStream } from "./log-stream.js";

/** Lines that the page keeps; older ones go. The worker keeps about as many. */
const LINES_MAX = 2000;
/** Lines from before that are asked for: all that the worker keeps. */
const TAIL = 1000;
/** So close to the end, the reader wants to see what comes. */
const AT_END_PX = 40;

const RANKS = { error: 1, warn: 2, info: 3, debug: 4, trace: 5 };

let stream = null;
let lines = [];
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

/** A line as it is shown. */
export function lineElement(line) {
  if (line.missed) {
    return h("div", { class: "line", "data-level": "missed" }, `${line.missed} lines were left out: they came faster than they could be sent.`);
  }
  return h("div", { class: "line", "data-level": line.level, "data-seq": line.seq },
    h("time", { datetime: new Date(line.time_ms).toISOString() }, formatClock(line.time_ms)),
    h("span", { class: "level" }, line.level),
    h("span", { class: "source" }, `${line.source}${line.instance === undefined ? "" : ` #${line.instance}`}`),
    // The engine of JavaScript says where it comes from; a console is what is expected.
    h("span", { class: "text" }, line.text.replace(/^js::console: /, "")));
}

function draw() {
  isDrawing = false;
  const box = byId("log-lines");
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < AT_END_PX;
  box.append(...waiting.filter(passes).map(lineElement));
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
  for (const list of [lines, waiting]) {
    list.push(data);
    if (list.length > LINES_MAX) list.shift();
  }
  drawSoon();
}

/** Follows the log of an app, unless it is followed already. */
export function openLog(newAddress) {
  if (stream.address === newAddress) return;
  closeLog();
  lines = [];
  setPaused(false);
  drawAgain();
  stream.open(newAddress);
}

/** Ends the stream. */
export function closeLog() {
  stream.close();
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
  const onStatus = (text) => {
    if (text !== null) status(text);
    else if (!isPaused) status("following");
  };
  stream = new LogStream({ tail: TAIL, onEvent: receive, onStatus });
  byId("log-pause").addEventListener("click", () => {
    setPaused(!isPaused);
    if (isPaused) {
      status("paused");
    } else {
      status("following");
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
