// EventTarget, dispatch, and event handler attributes (onabort and the like).
// DOM Living Standard, 2.7 to 2.10; HTML 8.1.8.1 (event handlers).
import { Event, eventState, isEvent } from "./event.js";
import { finish, isObject, need, text } from "./idl.js";

let listenersOf, setGlobal;
// report.js and abort.js give what this module cannot import without a cycle: what to do with the exception of a listener,
// whether a signal is aborted (a TypeError when it is no signal), and what to run when it is.
// `changed`: what to tell that listeners of a type came or went, by the type.
export const hooks = { report(error) { throw error; }, aborted: undefined, onAbort: undefined, changed: { __proto__: null } };

export class EventTarget {
  // Map from type to its list of listeners, or null as long as there is none.
  #lists = null;
  #handlers = null;

  static {
    let global, globalState;
    setGlobal = (object) => { global = object; globalState = new EventTarget(); };
    const resolve = (target) => {
      if (isObject(target) && #lists in target) return target;
      if (global !== undefined && (target === global || target === undefined || target === null)) return globalState;
      throw new TypeError("not an EventTarget");
    };
    listenersOf = {
      self: (target) => (resolve(target) === globalState ? global : target),
      list(target, type, make) {
        const t = resolve(target);
        if (t.#lists === null) { if (!make) return undefined; t.#lists = new Map(); }
        let list = t.#lists.get(type);
        if (list === undefined && make) t.#lists.set(type, list = []);
        return list;
      },
      put(target, type, list) { resolve(target).#lists.set(type, list); },
      handlers: (target) => (resolve(target).#handlers ??= new Map()),
      peek: (target) => resolve(target).#handlers,
    };
  }

  addEventListener(type, callback, options = undefined) {
    add(this, type, callback, options, arguments.length);
  }

  removeEventListener(type, callback, options = undefined) {
    need(arguments.length, 2, "EventTarget.removeEventListener");
    const name = text(type), capture = flatten(options);
    checkCallback(callback, "removeEventListener");
    const list = listenersOf.list(this, name, false);
    const found = list?.find((l) => l.callback === callback && l.capture === capture);
    if (found) remove(this, name, found);
  }

  dispatchEvent(event) {
    need(arguments.length, 1, "EventTarget.dispatchEvent");
    const target = listenersOf.self(this);
    if (!isEvent(event)) throw new TypeError("EventTarget.dispatchEvent: the argument is not an Event");
    const s = eventState(event);
    if (s.dispatching) throw new DOMException("The event is being dispatched already", "InvalidStateError");
    s.trusted = false;
    return dispatch(target, event);
  }
}
finish(EventTarget, "EventTarget");
for (const [key, length] of [["addEventListener", 2], ["removeEventListener", 2]]) {
  Object.defineProperty(EventTarget.prototype[key], "length", { value: length, configurable: true });
}

export { setGlobal as setGlobalTarget };

function checkCallback(callback, where) {
  if (callback !== null && callback !== undefined && !isObject(callback)) {
    throw new TypeError(`EventTarget.${where}: the listener is neither an object nor a function`);
  }
}

function flatten(options) {
  return isObject(options) ? !!options.capture : !!options;
}

function add(target, type, callback, options, given) {
  need(given, 2, "EventTarget.addEventListener");
  const name = text(type);
  checkCallback(callback, "addEventListener");
  let capture = false, once = false, passive = false, signal;
  if (isObject(options)) {
    capture = !!options.capture;
    once = !!options.once;
    passive = !!options.passive;
    signal = options.signal;
  } else capture = !!options;
  const self = listenersOf.self(target);
  const listener = { callback, capture, once, passive, removed: false };
  if (signal !== undefined && hooks.aborted(signal)) return;
  if (callback === null || callback === undefined) return;
  const list = listenersOf.list(self, name, true);
  if (list.some((l) => l.callback === callback && l.capture === capture)) return;
  list.push(listener);
  hooks.changed[name]?.(self);
  if (signal !== undefined) hooks.onAbort(signal, () => remove(self, name, listener));
}

// The list is replaced, not changed: a dispatch that runs keeps the one it began with.
function remove(target, type, listener) {
  listener.removed = true;
  const list = listenersOf.list(target, type, false);
  if (list?.includes(listener)) listenersOf.put(target, type, list.filter((l) => l !== listener));
  hooks.changed[type]?.(target);
}

export function hasListeners(target, type) {
  return !!listenersOf.list(target, type, false)?.length;
}

// DOM 2.9 with a path of one: capturing listeners first, then the others.
export function dispatch(target, event) {
  const s = eventState(event);
  s.dispatching = true;
  s.target = target;
  const list = listenersOf.list(target, s.type, false);
  if (list !== undefined && list.length > 0 && !s.stop) {
    const now = list.slice();
    s.phase = 2;
    s.current = target;
    invoke(target, event, s, now, true);
    if (!s.stop) invoke(target, event, s, now, false);
  }
  s.phase = 0;
  s.current = null;
  s.dispatching = s.stop = s.stopNow = false;
  return !s.canceled;
}

function invoke(target, event, s, list, capture) {
  for (const l of list) {
    if (l.removed || l.capture !== capture) continue;
    if (l.once) remove(target, s.type, l);
    s.passive = l.passive;
    try {
      const { callback } = l;
      if (typeof callback === "function") callback.call(target, event);
      else {
        const handle = callback.handleEvent;
        if (typeof handle !== "function") throw new TypeError("the listener has no handleEvent method");
        handle.call(callback, event);
      }
    } catch (error) {
      hooks.report(error);
    }
    s.passive = false;
    if (s.stopNow) return;
  }
}

// Defines on…-attributes: a handler takes its place in the order of listeners when it is first set.
export function handlerAttributes(prototype, ...types) {
  for (const type of types) {
    const key = `on${type}`;
    Object.defineProperty(prototype, key, {
      get: { [key]() { return listenersOf.peek(this)?.get(type)?.value ?? null; } }[key],
      set: { [key](value) { setHandler(this, type, value); } }[key],
      enumerable: true, configurable: true,
    });
  }
}

function setHandler(target, type, value) {
  const handlers = listenersOf.handlers(target);
  const old = handlers.get(type);
  if (!isObject(value)) {
    if (old) { remove(target, type, old.listener); handlers.delete(type); }
    return;
  }
  if (old) { old.value = value; return; }
  const entry = { value, listener: null };
  const callback = function (event) { return runHandler(entry.value, this, event, type); };
  entry.listener = { callback, capture: false, once: false, passive: false, removed: false };
  handlers.set(type, entry);
  listenersOf.list(target, type, true).push(entry.listener);
  hooks.changed[type]?.(target);
}

// HTML 8.1.8.1: onerror of the global takes five arguments and cancels by true, others cancel by false.
function runHandler(value, target, event, type) {
  if (typeof value !== "function") return;
  if (type === "error" && target === globalThis && "colno" in event) {
    if (value.call(target, event.message, event.filename, event.lineno, event.colno, event.error) === true) event.preventDefault();
  } else if (value.call(target, event) === false) event.preventDefault();
}

// An event that the platform fires: trusted, not cancelable unless the caller made it so.
export function fire(target, event) {
  eventState(event).trusted = true;
  return dispatch(target, event);
}

export function fireSimple(target, type) {
  return fire(target, new Event(type));
}
