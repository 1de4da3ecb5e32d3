// setTimeout, setInterval, setImmediate and their clearing.
// HTML Living Standard, 8.7. Ids are of this module alone. Strings are refused: nothing here compiles text. A callback runs in the
// async context of the code that set its timer.
import native from "wapo:native";
import { callable, need } from "./idl.js";
import { hooks } from "./event-target.js";

// Longest delay; a longer one counts as this (HTML converts to a signed 32-bit number, where 2^31 would mean at once).
const DELAY_MAX_MS = 2 ** 31 - 1;
// From this depth of timers set by timers on, a delay is at least NESTED_MIN_MS (HTML 8.7, step 11 of the initialization steps).
const NESTING_FREE = 5;
const NESTED_MIN_MS = 4;

const active = new Map();
let lastId = 0;
let nesting = 0;

function begin(callback, delay, repeat, args) {
  const id = ++lastId;
  const timer = { callback, delay, repeat, args, handle: 0, nesting: nesting + 1, context: native.context.get() };
  active.set(id, timer);
  arm(id, timer);
  return id;
}

function arm(id, timer) {
  const ms = timer.nesting > NESTING_FREE && timer.delay < NESTED_MIN_MS ? NESTED_MIN_MS : timer.delay;
  timer.handle = native.timers.set(ms, () => run(id, timer));
}

function run(id, timer) {
  if (active.get(id) !== timer) return;
  if (!timer.repeat) active.delete(id);
  nesting = timer.nesting;
  // The engine ends the context with the call.
  native.context.set(timer.context);
  try {
    timer.callback.apply(globalThis, timer.args);
  } catch (error) {
    hooks.report(error);
  } finally {
    nesting = 0;
  }
  if (timer.repeat && active.get(id) === timer) {
    if (timer.nesting <= NESTING_FREE) timer.nesting++;
    arm(id, timer);
  }
}

function clear(id) {
  const n = +id | 0;
  const timer = active.get(n);
  if (!timer) return;
  active.delete(n);
  native.timers.clear(timer.handle);
}

function delayOf(value) {
  const n = +value;
  return n > 0 ? Math.min(Math.trunc(n), DELAY_MAX_MS) : 0;
}

function handlerOf(value, where) {
  if (typeof value === "string") throw new TypeError(`${where}: text is not run; give a function`);
  return callable(value, where);
}

export function setTimeout(handler, timeout = 0, ...args) {
  need(arguments.length, 1, "setTimeout");
  return begin(handlerOf(handler, "setTimeout"), delayOf(timeout), false, args);
}

export function setInterval(handler, timeout = 0, ...args) {
  need(arguments.length, 1, "setInterval");
  return begin(handlerOf(handler, "setInterval"), delayOf(timeout), true, args);
}

export function setImmediate(handler, ...args) {
  need(arguments.length, 1, "setImmediate");
  return begin(handlerOf(handler, "setImmediate"), 0, false, args);
}

export function clearTimeout(id = 0) { clear(id); }
export function clearInterval(id = 0) { clear(id); }
export function clearImmediate(id = 0) { clear(id); }

// For other modules: no nesting, no id. `background`: a program does not stay for it.
export function startTimer(callback, ms, background = false) {
  const context = native.context.get();
  const handle = native.timers.set(Math.min(ms, DELAY_MAX_MS), () => {
    native.context.set(context);
    try { callback(); } catch (error) { hooks.report(error); }
  }, background);
  return () => native.timers.clear(handle);
}
