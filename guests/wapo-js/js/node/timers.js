// node:timers: the global timers, with ids that are objects, because programs for Node call methods of them.
import { clearImmediate, clearInterval, clearTimeout, setImmediate as immediate, setInterval as interval, setTimeout as timeout } from "../web/timers.js";
import * as promises from "./timers/promises.js";

export { clearImmediate, clearInterval, clearTimeout, promises };
const custom = Symbol.for("nodejs.util.promisify.custom");

// `unref` changes nothing: a program waits for its timers. The global clearing functions take the object for its number.
class Timer {
  #start;
  #id;
  constructor(start) {
    this.#start = start;
    this.#id = start();
  }
  ref() { return this; }
  unref() { return this; }
  hasRef() { return true; }
  refresh() {
    clearTimeout(this.#id);
    this.#id = this.#start();
    return this;
  }
  close() {
    clearTimeout(this.#id);
    return this;
  }
  [Symbol.toPrimitive]() { return this.#id; }
  [Symbol.dispose]() { this.close(); }
}

const starter = (start) => (...args) => new Timer(() => start(...args));
export const setTimeout = starter(timeout);
export const setInterval = starter(interval);
export const setImmediate = starter(immediate);
Object.defineProperty(setTimeout, custom, { value: promises.setTimeout });
Object.defineProperty(setImmediate, custom, { value: promises.setImmediate });

export default { clearImmediate, clearInterval, clearTimeout, promises, setImmediate, setInterval, setTimeout };
