// node:events: EventEmitter of the package `events`, and what Node has beside it.
import EventEmitter from "npm:events";
import { abortError, codedError } from "../node-parts/errors.js";

export { EventEmitter };
export const errorMonitor = Symbol("events.errorMonitor");
export const captureRejectionSymbol = Symbol.for("nodejs.rejection");
export const defaultMaxListeners = EventEmitter.defaultMaxListeners;

const { emit } = EventEmitter.prototype;
EventEmitter.prototype.emit = function (type, ...args) {
  // Watchers of errors see them before they are thrown.
  if (type === "error" && this.listenerCount(errorMonitor) > 0) Reflect.apply(emit, this, [errorMonitor, ...args]);
  return Reflect.apply(emit, this, arguments);
};

const isTarget = (value) => typeof value?.addEventListener === "function";
const listen = (emitter, type, listener, once = false) => {
  if (typeof emitter?.on === "function") return void emitter[once ? "once" : "on"](type, listener);
  if (!isTarget(emitter)) throw codedError(new TypeError("The emitter is neither an EventEmitter nor an EventTarget"), "ERR_INVALID_ARG_TYPE");
  emitter.addEventListener(type, listener, { once });
};
const forget = (emitter, type, listener) => (typeof emitter.off === "function" ? emitter.off(type, listener) : emitter.removeEventListener(type, listener));
const check = (signal) => { if (signal?.aborted) throw abortError(signal); };

// A promise of the arguments of the next event; the event "error" rejects it.
export async function once(emitter, type, { signal } = {}) {
  check(signal);
  return new Promise((resolve, reject) => {
    const end = (settle) => (value) => {
      forget(emitter, type, got);
      if (!isTarget(emitter) || typeof emitter.on === "function") forget(emitter, "error", failed);
      signal?.removeEventListener("abort", stopped);
      settle(value);
    };
    const failed = end(reject), take = end(resolve);
    const got = (...args) => take(args);
    const stopped = () => failed(abortError(signal));
    listen(emitter, type, got);
    if (type !== "error" && typeof emitter.on === "function") emitter.on("error", failed);
    signal?.addEventListener("abort", stopped, { once: true });
  });
}

// An iterator of the arguments of every event. `close` names events that end it.
export function on(emitter, type, { signal, close = [] } = {}) {
  check(signal);
  const events = [], waiting = [];
  let failure = null, over = false;
  const stop = () => {
    over = true;
    forget(emitter, type, got);
    forget(emitter, "error", failed);
    for (const name of close) forget(emitter, name, stop);
    signal?.removeEventListener("abort", aborted);
    for (const { resolve } of waiting.splice(0)) resolve({ value: undefined, done: true });
  };
  const got = (...args) => (waiting.length > 0 ? waiting.shift().resolve({ value: args, done: false }) : events.push(args));
  const failed = (error) => {
    if (waiting.length > 0) waiting.shift().reject(error);
    else failure = { error };
    stop();
  };
  const aborted = () => failed(abortError(signal));
  listen(emitter, type, got);
  if (type !== "error" && typeof emitter.on === "function") emitter.on("error", failed);
  for (const name of close) listen(emitter, name, stop);
  signal?.addEventListener("abort", aborted, { once: true });
  return {
    next() {
      if (events.length > 0) return Promise.resolve({ value: events.shift(), done: false });
      if (failure !== null) {
        const { error } = failure;
        failure = null;
        return Promise.reject(error);
      }
      if (over) return Promise.resolve({ value: undefined, done: true });
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    return() {
      stop();
      return Promise.resolve({ value: undefined, done: true });
    },
    throw(error) {
      failed(error);
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() { return this; },
  };
}

export const listenerCount = (emitter, type) => emitter.listenerCount(type);
// The listeners of an EventTarget are nobody's to see, in the standard as well.
export const getEventListeners = (emitter, type) => (typeof emitter.listeners === "function" ? emitter.listeners(type) : []);
export const getMaxListeners = (emitter) => emitter.getMaxListeners?.() ?? EventEmitter.defaultMaxListeners;

export function setMaxListeners(count = EventEmitter.defaultMaxListeners, ...emitters) {
  if (emitters.length === 0) EventEmitter.defaultMaxListeners = count;
  for (const emitter of emitters) emitter.setMaxListeners?.(count);
}

export function addAbortListener(signal, listener) {
  if (signal.aborted) queueMicrotask(() => listener());
  else signal.addEventListener("abort", listener, { once: true });
  return { [Symbol.dispose]() { signal.removeEventListener("abort", listener); } };
}

Object.assign(EventEmitter, {
  EventEmitter, addAbortListener, captureRejectionSymbol, errorMonitor, getEventListeners, getMaxListeners, listenerCount, on, once, setMaxListeners,
});
export default EventEmitter;
