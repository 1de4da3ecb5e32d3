// What a program does that was written here: where it answers, what, and its log. The
// page asks the worker to look (`AppVisit`), because it may ask nobody else itself.

import { byId, externalLink, keyed, setShown, setText } from "./dom.js";
import { fromHex } from "./format.js";
import { linksOf } from "./links.js";
import { LogStream } from "./log-stream.js";
import { lineElement } from "./logs.js";
import { call } from "./rpc.js";
import { appByAddress, store } from "./store.js";

/** Lines of the log that are shown; the app's own page has more. */
const LINES_MAX = 200;

let address = null;
let stream = null;
let asking = 0;

/** Asks the program and shows what it says. */
export async function ask() {
  if (address === null) return;
  const own = ++asking;
  setText(byId("script-answer-error"), "");
  setText(byId("script-status"), "Asking");
  const start = performance.now();
  try {
    const answer = await call("AppVisit", { address, path: byId("script-path").value.trim() || "/" });
    if (own !== asking) return;
    const type = answer.headers?.find(({ key }) => key === "content-type")?.value;
    const took = `${Math.round(performance.now() - start)} ms`;
    setText(byId("script-status"), [`Status ${answer.status}`, type, took].filter(Boolean).join(", "));
    const text = new TextDecoder().decode(fromHex(answer.body ?? "0x"));
    setText(byId("script-output"), (text || "(no body)") + (answer.is_cut ? "\n… there is more, or it broke off here" : ""));
  } catch (error) {
    if (own !== asking) return;
    setText(byId("script-status"), "");
    setText(byId("script-answer-error"), error.message);
  }
}

/** Shows another program, or none. */
export function showProgram(newAddress) {
  address = newAddress;
  asking += 1;
  setShown(byId("script-side"), address !== null);
  byId("script-lines").replaceChildren();
  setText(byId("script-status"), "");
  setText(byId("script-output"), "");
  setText(byId("script-answer-error"), "");
  if (address === null) stream.close();
  else stream.open(address);
  updateAnswer();
}

/** The page is shown again, or not any more. */
export function followProgram(isShown) {
  if (!isShown) stream.close();
  else if (address !== null && stream.address !== address) {
    byId("script-lines").replaceChildren();
    stream.open(address);
  }
}

/** Shows what the last poll said. */
export function updateAnswer() {
  const app = address === null ? null : appByAddress(address);
  const links = app ? linksOf(store.info, app, location.hostname) : null;
  const items = links ? [["host", links.host], ["path", links.path]] : [];
  keyed(byId("script-links"), items, ([kind]) => kind, ([kind]) => {
    const link = externalLink("#", "");
    link.id = `script-link-${kind}`;
    return link;
  }, (link, [, url]) => {
    link.href = url;
    setText(link, url);
  });
  byId("script-app").href = address === null ? "#/apps" : `#/apps/${address}`;
}

/**
 * Connects the form and the log.
 * @param {(line: object) => void} onLine hears every line of the log
 */
export function startAnswer(onLine) {
  const receive = (_, line) => {
    const box = byId("script-lines");
    box.append(lineElement(line));
    while (box.childElementCount > LINES_MAX) box.firstElementChild.remove();
    box.scrollTop = box.scrollHeight;
    if (line.text) onLine(line);
  };
  const onStatus = (text) => setText(byId("script-log-status"), text ?? "following");
  stream = new LogStream({ tail: LINES_MAX, onEvent: receive, onStatus });
  byId("script-ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
}
