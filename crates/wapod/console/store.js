// What is known of the worker: asked for every second while the tab is visible,
// and handed to the pages that show it. The only module that polls.

import { AppList } from "./app-list.js";
import { call, POLL_TIMEOUT_MS } from "./rpc.js";

/** Pause between two polls. */
const POLL_MS = 1000;
/** A poll that took long is followed by a pause this many times as long: the worker has other work. */
const PAUSE_PER_POLL = 5;
/** Longest pause after failures. */
const RETRY_MS_MAX = 10_000;
/** Apps of an answer at most: about a megabyte. A worker may have a hundred thousand. */
const PART = 1000;
/** Answers of one poll at most. A worker has no more apps than these hold. */
const PARTS_MAX = 200;

/** The last answers. Read it; only this module writes it. */
export const store = {
  /** @type {object | null} */
  info: null,
  /** @type {object[] | null} by serial number, latest first; another array when an app has come or gone */
  apps: null,
  /** @type {Error | null} why the last poll failed */
  error: null,
};

const list = new AppList();
const listeners = new Set();
let timer = null;
let polling = null;
let failures = 0;

/** Calls back after every poll. */
export function onUpdate(listener) {
  listeners.add(listener);
}

/** The app with this address, if it is deployed. */
export function appByAddress(address) {
  return list.get(address);
}

/** The same with its times as they are at the moment. */
export function appNow(address) {
  return list.at(address, performance.now());
}

/** Points of an app's last minutes, for a chart. */
export function pointsOf(address, key, isRate) {
  const history = list.history(address);
  if (!history) return [];
  return isRate ? history.rates(key, list.time) : history.levels(key, list.time);
}

/** What a counter of an app grows by in a second; of all apps without an address. Null before it is known. */
export function rateOf(key, address = null) {
  return address === null ? list.rateOfAll(key) : list.rate(address, key);
}

/** What an app is called in sentences. */
export function nameOf(app) {
  return app.manifest?.label || app.name || app.address.slice(0, 10);
}

/** Asks for apps that have changed, at first for all of them. */
async function askForChanges(options) {
  for (let part = 0; part < PARTS_MAX; part += 1) {
    const answer = await call("AppList", { since: list.since, count: PART }, options);
    list.apply(answer, performance.now());
    if (!answer.has_more) return;
  }
}

async function poll() {
  try {
    const options = { timeoutMs: POLL_TIMEOUT_MS };
    // Both to their end: the next poll must not find a list that is being asked for.
    const both = await Promise.allSettled([call("Info", {}, options), askForChanges(options)]);
    const failed = both.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
    store.info = both[0].value;
    if (list.isComplete) store.apps = list.apps;
    store.error = null;
    failures = 0;
  } catch (error) {
    store.error = error;
    failures += 1;
  }
  for (const listener of listeners) listener();
}

function pauseAfter(tookMs) {
  if (failures > 0) return Math.min(POLL_MS * 2 ** failures, RETRY_MS_MAX);
  return Math.max(POLL_MS, tookMs * PAUSE_PER_POLL);
}

async function round() {
  const start = performance.now();
  await poll();
  // Without a token, asking again would only open the dialog again.
  const isWaitingForUser = store.error?.status === 401;
  if (document.visibilityState === "visible" && !isWaitingForUser) {
    timer = setTimeout(refresh, pauseAfter(performance.now() - start));
  }
}

/** Polls now, or joins the poll that is under way. */
export function refresh() {
  clearTimeout(timer);
  timer = null;
  polling ??= round().finally(() => { polling = null; });
  return polling;
}

/** Polls after what is under way, so that the answer is newer than this call. */
export async function refreshAfterChange() {
  await polling;
  await refresh();
}

/** Polls from now on, whenever the tab is visible. */
export function startPolling() {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
    else clearTimeout(timer);
  });
  refresh();
}
