// Errors in Node's manner (with a `code`), checks of arguments, and promises from callbacks, for the modules below js/node.
import { inspect } from "../web/inspect.js";

export function codedError(error, code, more = undefined) {
  return Object.assign(error, { code }, more);
}

export function wrongType(name, expected, value) {
  return codedError(new TypeError(`The "${name}" argument must be ${expected}. Received ${inspect(value, { depth: 0 })}`), "ERR_INVALID_ARG_TYPE");
}

export function needFunction(value, name) {
  if (typeof value !== "function") throw wrongType(name, "of type function", value);
  return value;
}

export function needString(value, name) {
  if (typeof value !== "string") throw wrongType(name, "of type string", value);
  return value;
}

// The error of what a signal has stopped.
export function abortError(signal) {
  return codedError(new Error("The operation was aborted", { cause: signal?.reason }), "ABORT_ERR", { name: "AbortError" });
}

// A function whose last argument is a callback, as one that gives a promise.
export function promisified(original) {
  return function (...args) {
    return new Promise((resolve, reject) => {
      Reflect.apply(original, this, [...args, (error, value) => (error ? reject(error) : resolve(value))]);
    });
  };
}
