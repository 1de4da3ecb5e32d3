// The apps of the worker, kept by what its answers say has changed. Knows nothing of
// calls or of the page: the store asks and hands answers on, pages show what is here.

import { History } from "./history.js";

/** Phases in which an instance is paid for by time. */
const RUNNING = ["starting", "running"];
const MIB = 2 ** 20;

/** An app as it is some milliseconds after the worker told of it, if nothing happened but that time went on. */
export function aged(app, elapsedMs) {
  const elapsed = Math.max(0, Math.round(elapsedMs));
  const later = (value, more) => Number(value ?? 0) + more;
  const list = app.instance_list ?? [];
  const running = list.filter(({ phase }) => RUNNING.includes(phase)).length;
  const usage = app.usage ?? {};
  return {
    ...app,
    last_query_elapsed: later(app.last_query_elapsed, Math.floor(elapsed / 1000)),
    instance_list: list.map((one) => ({
      ...one,
      uptime_ms: later(one.uptime_ms, elapsed),
      next_start_ms: Math.max(0, later(one.next_start_ms, -elapsed)),
    })),
    usage: {
      ...usage,
      running_time_ms: later(usage.running_time_ms, running * elapsed),
      memory_mib_seconds: later(usage.memory_mib_seconds, Math.floor((Number(usage.memory ?? 0) / MIB) * (elapsed / 1000))),
    },
  };
}

export class AppList {
  /** What to ask the worker with. */
  since = "0";
  /**
   * By serial number, latest first. Another array when an app has come or gone; while
   * it is the same one, apps that have changed are exchanged in it.
   * @type {object[]}
   */
  apps = [];
  /** When the worker's last complete answer came. */
  #at = -Infinity;
  #answers = 0;
  /** By address: the app, when it was told of, its history, its place in the array, its round. */
  #known = new Map();
  /** Rises with each whole list that begins: an app that is not in it is gone at its end. */
  #round = 0;
  #isWhole = false;
  /** Whether an app may be missing in the array, or one that is in it gone. */
  #isStale = false;
  /** Those of which a counter may have moved a moment ago. */
  #moving = new Set();

  /**
   * Takes an answer to `AppList`, which came at a time. A list in several parts is
   * shown when it is complete.
   */
  apply({ apps, removed, revision, is_delta, has_more }, at) {
    if (!is_delta) {
      this.#round += 1;
      this.#isWhole = true;
    }
    for (const address of removed ?? []) this.#forget(address);
    for (const app of apps ?? []) this.#take(app, at);
    // An older worker gives none.
    this.since = revision || "0";
    if (!has_more) this.#finish(at);
  }

  /** Whether all apps of the worker are here. */
  get isComplete() {
    return this.#answers > 0;
  }

  /** The app with an address, as the worker told of it last. */
  get(address) {
    return this.#known.get(address)?.app;
  }

  /** The same with times as they are at a moment. */
  at(address, now) {
    const known = this.#known.get(address);
    return known && aged(known.app, now - known.at);
  }

  /** Its last minutes. */
  history(address) {
    return this.#known.get(address)?.history;
  }

  /** When all of this was so. */
  get time() {
    return this.#at;
  }

  /** The increase per second of a counter, or null before it is known. */
  rate(address, key) {
    return this.#known.get(address)?.history.rate(key, this.#at) ?? null;
  }

  /** The same of all apps together. Those that stand still are not looked at. */
  rateOfAll(key) {
    if (this.#answers < 2) return null;
    let sum = 0;
    for (const { history } of this.#moving) sum += history.rate(key, this.#at) ?? 0;
    return sum;
  }

  #take(app, at) {
    let known = this.#known.get(app.address);
    if (!known) this.#known.set(app.address, (known = { place: -1 }));
    if (known.app?.sn !== app.sn) {
      // Another deployment of it: it has another place, if any, and counts from the beginning.
      this.#isStale = true;
      known.history = new History();
    }
    known.history.add(at, app.usage ?? {}, this.#at);
    known.app = app;
    known.at = at;
    known.round = this.#round;
    if (known.place >= 0) this.apps[known.place] = app;
    this.#moving.add(known);
  }

  #forget(address) {
    const known = this.#known.get(address);
    if (!known) return;
    this.#known.delete(address);
    this.#moving.delete(known);
    this.#isStale = true;
  }

  #finish(at) {
    this.#at = at;
    this.#answers += 1;
    if (this.#isWhole) {
      for (const [address, { round }] of this.#known) {
        if (round < this.#round) this.#forget(address);
      }
    }
    if (this.#isStale) this.#sort();
    this.#isWhole = this.#isStale = false;
    for (const known of this.#moving) {
      if (known.history.isStill(at)) this.#moving.delete(known);
    }
  }

  #sort() {
    const sorted = [...this.#known.values()].sort((a, b) => Number(b.app.sn) - Number(a.app.sn));
    sorted.forEach((known, place) => { known.place = place; });
    this.apps = sorted.map(({ app }) => app);
  }
}
