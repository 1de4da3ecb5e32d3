// performance: now, timeOrigin, marks and measures.
// High Resolution Time, 7; User Timing, 3 and 4. Entries are kept up to a bound; there is no PerformanceObserver.
import native from "wapo:native";
import { INTERNAL, dictionary, finish, illegal, isObject, need, text } from "./idl.js";
import { EventTarget } from "./event-target.js";
import { structuredClone } from "./clone.js";

// Entries that are kept; the oldest goes. A service that measures each request would keep them for ever.
const ENTRIES_MAX = 1000;

let entry;

export class PerformanceEntry {
  #e;
  constructor(token, e) {
    if (token !== INTERNAL) illegal();
    this.#e = e;
  }
  static { entry = (x) => x.#e; }
  get name() { return this.#e.name; }
  get entryType() { return this.#e.type; }
  get startTime() { return this.#e.start; }
  get duration() { return this.#e.duration; }
  toJSON() {
    const { name, entryType, startTime, duration } = this;
    return this.#e.detail === undefined ? { name, entryType, startTime, duration } : { name, entryType, startTime, duration, detail: this.#e.detail };
  }
}
Object.defineProperty(PerformanceEntry, "length", { value: 0, configurable: true });
finish(PerformanceEntry, "PerformanceEntry");

const clone = (detail) => (detail === undefined || detail === null ? null : structuredClone(detail));

function finite(value) {
  const n = +value;
  if (!Number.isFinite(n)) throw new TypeError("Performance: a time is not a finite number");
  return n;
}

export class PerformanceMark extends PerformanceEntry {
  constructor(name, options = undefined) {
    need(arguments.length, 1, "PerformanceMark");
    const { startTime, detail } = dictionary(options, "PerformanceMark");
    const start = startTime === undefined ? native.time.now() : finite(startTime);
    if (start < 0) throw new TypeError("PerformanceMark: startTime is negative or not a number");
    super(INTERNAL, { name: text(name), type: "mark", start, duration: 0, detail: clone(detail) });
  }
  get detail() { return entry(this).detail; }
}
finish(PerformanceMark, "PerformanceMark");

export class PerformanceMeasure extends PerformanceEntry {
  constructor(token, e) {
    if (token !== INTERNAL) illegal();
    super(token, e);
  }
  get detail() { return entry(this).detail; }
}
Object.defineProperty(PerformanceMeasure, "length", { value: 0, configurable: true });
finish(PerformanceMeasure, "PerformanceMeasure");

export class Performance extends EventTarget {
  #entries = [];

  constructor(token) {
    if (token !== INTERNAL) illegal();
    super();
  }

  #keep(e) {
    if (this.#entries.length >= ENTRIES_MAX) this.#entries.shift();
    this.#entries.push(e);
    return e;
  }

  // A time, or the start of the latest mark of that name.
  #timeOf(mark) {
    if (typeof mark === "number") {
      if (finite(mark) < 0) throw new TypeError("Performance.measure: a time is negative");
      return mark;
    }
    const found = this.#entries.findLast((e) => e.entryType === "mark" && e.name === text(mark));
    if (!found) throw new DOMException(`There is no mark "${text(mark)}"`, "SyntaxError");
    return found.startTime;
  }

  get timeOrigin() { return (this.#entries, native.time.origin()); }
  now() { return (this.#entries, native.time.now()); }
  mark(name, options = undefined) {
    need(arguments.length, 1, "Performance.mark");
    return this.#keep(new PerformanceMark(name, options));
  }

  measure(name, startOrOptions = undefined, endMark = undefined) {
    need(arguments.length, 1, "Performance.measure");
    const label = text(name), isMark = !isObject(startOrOptions) && startOrOptions !== undefined && startOrOptions !== null;
    let { detail, duration, end, start } = isMark ? { start: text(startOrOptions) } : startOrOptions ?? {};
    if (!isMark && [detail, duration, end, start].some((x) => x !== undefined)) {
      if (endMark !== undefined) throw new TypeError("Performance.measure: an end is given beside options");
      if (start === undefined && end === undefined) throw new TypeError("Performance.measure: the options have neither start nor end");
      if (start !== undefined && end !== undefined && duration !== undefined) throw new TypeError("Performance.measure: the options have start, end and duration");
    }
    if (endMark !== undefined) end = text(endMark);
    if (duration !== undefined) duration = finite(duration);
    const to = end !== undefined ? this.#timeOf(end) : start !== undefined && duration !== undefined ? this.#timeOf(start) + duration : native.time.now();
    const from = start !== undefined ? this.#timeOf(start) : duration !== undefined ? to - duration : 0;
    return this.#keep(new PerformanceMeasure(INTERNAL, { name: label, type: "measure", start: from, duration: to - from, detail: clone(detail) }));
  }

  clearMarks(name = undefined) { this.#clear("mark", name); }
  clearMeasures(name = undefined) { this.#clear("measure", name); }
  #clear(type, name) {
    this.#entries = this.#entries.filter((e) => e.entryType !== type || (name !== undefined && e.name !== text(name)));
  }

  getEntries() { return this.#entries.toSorted((a, b) => a.startTime - b.startTime); }
  getEntriesByType(type) {
    need(arguments.length, 1, "Performance.getEntriesByType");
    return this.getEntries().filter((e) => e.entryType === text(type));
  }
  getEntriesByName(name, type = undefined) {
    need(arguments.length, 1, "Performance.getEntriesByName");
    return this.getEntries().filter((e) => e.name === text(name) && (type === undefined || e.entryType === text(type)));
  }
  toJSON() { return (this.#entries, { timeOrigin: this.timeOrigin }); }
}
Object.defineProperty(Performance, "length", { value: 0, configurable: true });
finish(Performance, "Performance");

export const performance = new Performance(INTERNAL);
