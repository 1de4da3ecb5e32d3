// AbortController and AbortSignal.
// DOM Living Standard, 3.1 and 3.2. A dependent signal (any) is held weakly by its sources until something listens to it.
import { hooks, EventTarget, fireSimple, handlerAttributes, hasListeners } from "./event-target.js";
import { INTERNAL, enforceRange, finish, illegal, isObject, need, sequence } from "./idl.js";
import { startTimer } from "./timers.js";

let get, is;

export class AbortSignal extends EventTarget {
  // aborted, reason · algorithms: functions run before the event · sources and dependents of any() · kept: dependents with listeners
  #s = { aborted: false, reason: undefined, algorithms: null, sources: null, dependents: null, kept: null };

  constructor(token) {
    if (token !== INTERNAL) illegal();
    super();
  }

  static {
    get = (signal) => signal.#s;
    is = (signal) => isObject(signal) && #s in signal;
  }

  static abort(reason = undefined) {
    const signal = new AbortSignal(INTERNAL);
    const s = signal.#s;
    s.aborted = true;
    s.reason = reason === undefined ? abortError() : reason;
    return signal;
  }

  static timeout(milliseconds) {
    need(arguments.length, 1, "AbortSignal.timeout");
    const ms = enforceRange(milliseconds, Number.MAX_SAFE_INTEGER, "AbortSignal.timeout");
    const signal = new AbortSignal(INTERNAL);
    startTimer(() => signalAbort(signal, new DOMException("The operation timed out", "TimeoutError")), ms, true);
    return signal;
  }

  static any(signals) {
    need(arguments.length, 1, "AbortSignal.any");
    return anySignal(sequence(signals, (x) => {
      if (!is(x)) throw new TypeError("AbortSignal.any: a member is not an AbortSignal");
      return x;
    }, "AbortSignal.any"));
  }

  get aborted() { return this.#s.aborted; }
  get reason() { return this.#s.reason; }
  throwIfAborted() { if (this.#s.aborted) throw this.#s.reason; }
}
Object.defineProperty(AbortSignal, "length", { value: 0, configurable: true });
finish(AbortSignal, "AbortSignal");
handlerAttributes(AbortSignal.prototype, "abort");

export class AbortController {
  #signal = new AbortSignal(INTERNAL);
  get signal() { return this.#signal; }
  abort(reason = undefined) { signalAbort(this.#signal, reason); }
}
finish(AbortController, "AbortController");

export { is as isSignal };

function abortError() {
  return new DOMException("The operation was aborted", "AbortError");
}

export function newSignal() {
  return new AbortSignal(INTERNAL);
}

export function anySignal(signals) {
  const result = new AbortSignal(INTERNAL);
  const r = get(result);
  const done = signals.find((x) => get(x).aborted);
  if (done) {
    r.aborted = true;
    r.reason = get(done).reason;
    return result;
  }
  r.sources = new Set();
  for (const signal of signals) {
    const { sources } = get(signal);
    for (const source of sources ?? [signal]) r.sources.add(source);
  }
  const ref = new WeakRef(result);
  for (const source of r.sources) (get(source).dependents ??= new Set()).add(ref);
  registry.register(result, { ref, sources: [...r.sources].map((x) => new WeakRef(x)) });
  return result;
}

const registry = new FinalizationRegistry(({ ref, sources }) => {
  for (const source of sources) {
    const signal = source.deref();
    if (signal) get(signal).dependents?.delete(ref);
  }
});

// A dependent that something listens to lives as long as its sources.
function changed(target) {
  if (!is(target)) return;
  const s = get(target);
  if (!s.sources || s.aborted) return;
  const wanted = hasListeners(target, "abort") || s.algorithms?.size > 0;
  for (const source of s.sources) {
    if (wanted) (get(source).kept ??= new Set()).add(target);
    else get(source).kept?.delete(target);
  }
}

export function signalAbort(signal, reason) {
  const s = get(signal);
  if (s.aborted) return;
  mark(s, reason === undefined ? abortError() : reason);
  const dependents = [];
  for (const ref of s.dependents ?? []) {
    const dependent = ref.deref();
    if (!dependent || get(dependent).aborted) continue;
    mark(get(dependent), s.reason);
    dependents.push(dependent);
  }
  s.dependents = null;
  run(signal, s);
  for (const dependent of dependents) run(dependent, get(dependent));
  s.kept = null;
}

function mark(s, reason) {
  s.aborted = true;
  s.reason = reason;
}

function run(signal, s) {
  const { algorithms } = s;
  s.algorithms = null;
  for (const algorithm of algorithms ?? []) {
    try { algorithm(s.reason); } catch (error) { hooks.report(error); }
  }
  if (hasListeners(signal, "abort")) fireSimple(signal, "abort");
}

// Runs `algorithm(reason)` when the signal is aborted (not when it is already); gives a function that takes it back.
export function onAbort(signal, algorithm) {
  const s = get(signal);
  if (s.aborted) return () => {};
  (s.algorithms ??= new Set()).add(algorithm);
  changed(signal);
  return () => {
    if (s.algorithms?.delete(algorithm)) changed(signal);
  };
}

hooks.aborted = (signal) => {
  if (!is(signal)) throw new TypeError("EventTarget.addEventListener: signal is not an AbortSignal");
  return get(signal).aborted;
};
hooks.onAbort = onAbort;
hooks.changed.abort = changed;
