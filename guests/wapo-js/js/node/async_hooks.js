// node:async_hooks: AsyncLocalStorage and AsyncResource on the engine's async context (src/engine/context.rs).
// The context is a Map from storages to their stores. It is never changed, only replaced. Not there: hooks and ids of
// executions, because the engine tells of no single promise.
import native from "wapo:native";
import { codedError, needFunction, needString } from "../node-parts/errors.js";

const { context } = native;

function within(other, fn, receiver, args) {
  const before = context.get();
  context.set(other);
  try {
    return Reflect.apply(fn, receiver, args);
  } finally {
    context.set(before);
  }
}

const bound = (other, fn) => {
  needFunction(fn, "fn");
  return function (...args) { return within(other, fn, this, args); };
};

export class AsyncLocalStorage {
  #default;
  #name;

  constructor({ defaultValue, name = "" } = {}) {
    this.#default = defaultValue;
    this.#name = String(name);
  }

  static bind(fn) { return bound(context.get(), fn); }

  static snapshot() {
    const now = context.get();
    return function (fn, ...args) { return within(now, needFunction(fn, "fn"), this, args); };
  }

  get name() { return this.#name; }

  getStore() {
    const now = context.get();
    return now?.has(this) ? now.get(this) : this.#default;
  }

  run(store, fn, ...args) {
    return within(this.#with(store), needFunction(fn, "callback"), undefined, args);
  }

  exit(fn, ...args) { return this.run(undefined, fn, ...args); }

  // Until the present call or job ends, and for what it leaves behind.
  enterWith(store) { context.set(this.#with(store)); }

  disable() {
    const now = context.get();
    if (!now?.has(this)) return;
    const rest = new Map(now);
    rest.delete(this);
    context.set(rest.size === 0 ? undefined : rest);
  }

  #with(store) { return new Map(context.get()).set(this, store); }
}

let lastId = 1;

export class AsyncResource {
  #context = context.get();
  #id = ++lastId;
  #trigger;

  constructor(type, options = undefined) {
    needString(type, "type");
    this.#trigger = (typeof options === "number" ? options : options?.triggerAsyncId) ?? 1;
  }

  static bind(fn, type = undefined, receiver = undefined) {
    return new AsyncResource(type ?? (fn.name || "bound-anonymous-fn")).bind(fn, receiver);
  }

  runInAsyncScope(fn, receiver, ...args) { return within(this.#context, fn, receiver, args); }

  bind(fn, receiver = undefined) {
    const call = bound(this.#context, fn);
    return receiver === undefined ? call : call.bind(receiver);
  }

  emitDestroy() { return this; }
  asyncId() { return this.#id; }
  triggerAsyncId() { return this.#trigger; }
}

export function createHook() {
  throw codedError(new Error("createHook: WapoJS has no hooks of asynchronous operations; AsyncLocalStorage is there"), "ERR_METHOD_NOT_IMPLEMENTED");
}
export const executionAsyncId = () => 1;
export const triggerAsyncId = () => 0;
export const executionAsyncResource = () => ({});

export default { AsyncLocalStorage, AsyncResource, createHook, executionAsyncId, executionAsyncResource, triggerAsyncId };
