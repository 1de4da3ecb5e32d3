// The last minutes of an app's counters, and the rates that follow from them.

/** How far charts look back. */
export const HISTORY_MS = 5 * 60 * 1000;
/** Samples closer than this are one. */
const SAMPLE_MS_MIN = 500;
/** A rate over less time than this would jump about. */
const RATE_MS = 2500;

/** A counter as a number; a missing one is zero. */
const number = (value) => Number(value ?? 0);

export class History {
  /** @type {{at: number, requests: number, gas: number, network: number, memory: number}[]} */
  samples = [];

  /** Adds what was read at a time. */
  add(at, usage) {
    const last = this.samples.at(-1);
    if (last && at - last.at < SAMPLE_MS_MIN) return;
    this.samples.push({
      at,
      requests: number(usage.requests),
      gas: number(usage.gas),
      network: number(usage.network_ingress) + number(usage.network_egress),
      memory: number(usage.memory),
    });
    while (this.samples[0].at < at - HISTORY_MS) this.samples.shift();
  }

  /** Points of a value that is a level, such as memory. */
  levels(key) {
    return this.samples.map((sample) => ({ at: sample.at, value: sample[key] }));
  }

  /** Points of a counter, as increase per second. */
  rates(key) {
    const points = [];
    let from = 0;
    for (let i = 1; i < this.samples.length; i += 1) {
      const sample = this.samples[i];
      while (from + 1 < i && this.samples[from + 1].at <= sample.at - RATE_MS) from += 1;
      const before = this.samples[from];
      const increase = Math.max(0, sample[key] - before[key]);
      points.push({ at: sample.at, value: (increase * 1000) / (sample.at - before.at) });
    }
    return points;
  }

  /** The latest increase per second, or null before there are two samples. */
  rate(key) {
    if (this.samples.length < 2) return null;
    const last = this.samples.at(-1);
    const before = this.samples.findLast((sample) => sample.at <= last.at - RATE_MS) ?? this.samples[0];
    return (Math.max(0, last[key] - before[key]) * 1000) / (last.at - before.at);
  }
}
