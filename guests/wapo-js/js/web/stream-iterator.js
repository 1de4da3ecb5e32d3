// Asynchronous iteration of a ReadableStream.
// Streams Living Standard, 4.2.5; Web IDL 3.7.10.2 (asynchronous iterator objects). The package has its own, which cancels one
// microtask after return() was called. The engine does not wait for return() when a loop's body throws, so the program would
// see the exception before the stream is cancelled; here an idle stream is cancelled at once.
import { dictionary, tag } from "./idl.js";
import { ReadableStreamDefaultReader } from "npm:web-streams-polyfill";

const asyncIteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype);
const states = new WeakMap();
// As they are now: a program may replace those of the prototype.
const { read, cancel, releaseLock } = ReadableStreamDefaultReader.prototype;

function step(state) {
  if (state.finished) return Promise.resolve({ value: undefined, done: true });
  return read.call(state.reader).then((result) => {
    if (result.done) {
      state.finished = true;
      releaseLock.call(state.reader);
    }
    return result.done ? { value: undefined, done: true } : { value: result.value, done: false };
  }, (error) => {
    state.finished = true;
    releaseLock.call(state.reader);
    throw error;
  });
}

function leave(state, value) {
  const end = { value, done: true };
  if (state.finished) return Promise.resolve(end);
  state.finished = true;
  if (state.preventCancel) {
    releaseLock.call(state.reader);
    return Promise.resolve(end);
  }
  const cancelled = cancel.call(state.reader, value);
  releaseLock.call(state.reader);
  return cancelled.then(() => end);
}

// One step after the other, whatever the caller does; an idle iterator does not wait.
function inTurn(object, f) {
  const state = states.get(object);
  if (state === undefined) return Promise.reject(new TypeError("not a ReadableStream async iterator"));
  const result = state.ongoing === null ? f(state) : state.ongoing.then(() => f(state), () => f(state));
  const settled = () => { if (state.ongoing === result) state.ongoing = null; };
  state.ongoing = result;
  result.then(settled, settled);
  return result;
}

const prototype = Object.create(asyncIteratorPrototype, Object.getOwnPropertyDescriptors({
  next() { return inTurn(this, step); },
  return(value) { return inTurn(this, (state) => leave(state, value)); },
}));

tag(prototype, "ReadableStream AsyncIterator");

export function makeIterable(ReadableStream) {
  const { getReader } = ReadableStream.prototype;
  const values = {
    values(options = undefined) {
      const preventCancel = !!dictionary(options, "ReadableStream.values").preventCancel;
      const iterator = Object.create(prototype);
      states.set(iterator, { reader: getReader.call(this), preventCancel, finished: false, ongoing: null });
      return iterator;
    },
  }.values;
  Object.defineProperty(ReadableStream.prototype, "values", { value: values, writable: true, enumerable: true, configurable: true });
  Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, { value: values, writable: true, enumerable: false, configurable: true });
}
