// What is known of the worker: asked for every second while the tab is visible,
// and handed to the pages that show it. The only module that polls.

import { History } from "./history.js";
import { call, POLL_TIMEOUT_MS } from "./rpc.js";

/** Pause between two polls. */
const POLL_MS = 1000;
/** A poll that took long is followed by a pause this many times as long: the worker has other work. */
const PAUSE_PER_POLL = 5;
/** Longest pause after failures. */
const RETRY_MS_MAX = 10_000;

/** The last answers. Read it; only this module writes it. */
export const store = {
  /** @type {object | null} */
  info: null,
  /** @type {object[] | null} by serial number, latest first */
  apps: null,
  /** @type {Error | null} why the last poll failed */
  error: null,
  /** @type {Map<string, History>} by address */
  histories: new Map(),
};

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
  return store.apps?.find((app) => app.address === address);
}

/** What an app is called in sentences. */
export function nameOf(app) {
  return app.manifest?.label || app.name || app.address.slice(0, 10);
}

function remember(apps) {
  const now = performance.now();
  const gone = new Set(store.histories.keys());
  for (const app of apps) {
    gone.delete(app.address);
    let history = store.histories.get(app.address);
    if (!history) store.histories.set(app.address, (history = new History()));
    history.add(now, app.usage ?? {});
  }
  for (const address of gone) store.histories.delete(address);
}

async function poll() {
  try {
    const options = { timeoutMs: POLL_TIMEOUT_MS };
    const [info, list] = await Promise.all([
      call("Info", {}, options),
      call("AppList", { start: 0, count: 0 }, options),
    ]);
    store.info = info;
    store.apps = (list?.apps ?? []).sort((a, b) => b.sn - a.sn);
    store.error = null;
    failures = 0;
    remember(store.apps);
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
