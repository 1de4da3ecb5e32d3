// The last minutes of an app's counters, and the rates that follow from them.

/** How far charts look back. */
export const HISTORY_MS = 5 * 60 * 1000;
/** A sample that comes sooner after another is put this long after it: a rate over less time would jump about. */
const SAMPLE_MS_MIN = 500;
/** A rate is that of so much time. */
const RATE_MS = 2500;
/** Distance of points of a chart while nothing changes. */
const POINT_MS = 1000;

/** A counter as a number; a missing one is zero. */
const number = (value) => Number(value ?? 0);

/**
 * @typedef {object} Sample
 * @property {number} at
 * @property {number} until nothing had changed by then
 * @property {number} requests
 * @property {number} gas
 * @property {number} network
 * @property {number} memory
 */

export class History {
  /** @type {Sample[]} one for each change */
  samples = [];

  /** Adds what was read at a time. What was read before it held until `sameUntil` at least. */
  add(at, usage, sameUntil = -Infinity) {
    const last = this.samples.at(-1);
    const read = {
      requests: number(usage.requests),
      gas: number(usage.gas),
      network: number(usage.network_ingress) + number(usage.network_egress),
      memory: number(usage.memory),
    };
    if (last && last.at > at) {
      // It was put off, and is not needed any more.
      Object.assign(last, read);
      return;
    }
    if (last) last.until = Math.max(last.until, Math.min(sameUntil, at));
    const time = last ? Math.max(at, last.at + SAMPLE_MS_MIN) : at;
    this.samples.push({ at: time, until: time, ...read });
    while (this.samples.length > 1 && this.samples[0].until < at - HISTORY_MS) this.samples.shift();
  }

  /** Whether nothing has changed for so long that all rates are zero. */
  isStill(now) {
    const last = this.samples.at(-1);
    return last === undefined || last.at <= now - RATE_MS;
  }

  /** Points of a value that is a level, such as memory. */
  levels(key, now) {
    return this.#points(now).map((sample) => ({ at: sample.at, value: sample[key] }));
  }

  /** Points of a counter, as increase per second. */
  rates(key, now) {
    const samples = this.#points(now);
    const points = [];
    let from = 0;
    for (let i = 1; i < samples.length; i += 1) {
      const sample = samples[i];
      while (from + 1 < i && samples[from + 1].at <= sample.at - RATE_MS) from += 1;
      const before = samples[from];
      const increase = Math.max(0, sample[key] - before[key]);
      points.push({ at: sample.at, value: (increase * 1000) / (sample.at - before.at) });
    }
    return points;
  }

  /** The increase per second by now, or null before there are two moments to compare. */
  rate(key, now = -Infinity) {
    const last = this.samples.at(-1);
    if (!last) return null;
    const end = Math.max(now, last.at);
    const before = this.samples.findLast((sample) => sample.at <= end - RATE_MS) ?? this.samples[0];
    // It was what it was before for a while.
    const until = before === last ? end : before.until;
    const start = Math.max(before.at, Math.min(until, end - RATE_MS));
    if (start === end) return null;
    return (Math.max(0, last[key] - before[key]) * 1000) / (end - start);
  }

  /** What would have been read if it had been read all the time. */
  #points(now = -Infinity) {
    const points = [];
    const end = Math.max(now, this.samples.at(-1)?.at ?? now);
    this.samples.forEach((sample, i) => {
      const until = i + 1 < this.samples.length ? sample.until : end;
      const first = Math.max(sample.at, Math.min(until, end - HISTORY_MS));
      for (let at = first; at < until; at += POINT_MS) points.push({ ...sample, at });
      points.push({ ...sample, at: until });
    });
    return points;
  }
}
