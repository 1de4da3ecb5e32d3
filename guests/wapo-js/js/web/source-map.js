// Stacks of a bundle's errors, told by its source map: in `error.stack` when it is read, so that an error that nobody looks at
// costs nothing. Not mapped: what Error.prepareStackTrace is given, and the stack that a DOMException has of its own.
import native from "wapo:native";

export function mapStacks() {
  const { get, set } = Object.getOwnPropertyDescriptor(Error.prototype, "stack");
  const mapped = (value) => (typeof value === "string" ? native.sourceMap.apply(value) : value);
  const accessors = { get stack() { return mapped(get.call(this)); } };
  Object.defineProperty(Error.prototype, "stack", { ...Object.getOwnPropertyDescriptor(accessors, "stack"), set, enumerable: false, configurable: true });
  const { captureStackTrace } = Error;
  if (typeof captureStackTrace !== "function") return;
  const capture = {
    captureStackTrace(target, ...rest) {
      // Without a function to begin below, it begins below this one.
      Reflect.apply(captureStackTrace, Error, [target, rest[0] ?? capture.captureStackTrace]);
      const own = Object.getOwnPropertyDescriptor(target, "stack");
      if (typeof own?.value === "string") Object.defineProperty(target, "stack", { ...own, value: mapped(own.value) });
    },
  };
  Object.defineProperty(Error, "captureStackTrace", { value: capture.captureStackTrace, writable: true, configurable: true, enumerable: false });
}
