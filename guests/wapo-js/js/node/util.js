// node:util on the engine's own inspection (js/web/inspect.js), so that it shows values as console.log does.
// Not there: parseArgs, MIMEType, getSystemErrorName and other names of the operating system.
import native from "wapo:native";
import { format as formatList } from "../web/console.js";
import { inspect as show } from "../web/inspect.js";
import { isDeepEqual } from "../wapo/equal.js";
import { Wapo } from "../wapo/object.js";
import { codedError, needFunction, promisified } from "../node-parts/errors.js";
import types from "./util/types.js";
import * as timersPromises from "./timers/promises.js";

const LEVEL_WARN = 3;
const { TextDecoder, TextEncoder } = globalThis;
export { TextDecoder, TextEncoder, types };

export function inspect(value, options = undefined, depth = undefined) {
  // The form of long ago: inspect(value, showHidden, depth).
  return show(value, typeof options === "boolean" ? { showHidden: options, depth } : options);
}
inspect.custom = show.custom;
inspect.defaultOptions = Object.freeze({ depth: 2, showHidden: false, colors: false });

export function format(...args) { return formatList(args); }
export function formatWithOptions(options, ...args) { return formatList(args); }

export function inherits(constructor, parent) {
  needFunction(constructor, "constructor");
  needFunction(parent, "superConstructor");
  Object.defineProperty(constructor, "super_", { value: parent, writable: true, configurable: true });
  Object.setPrototypeOf(constructor.prototype, parent.prototype);
}

const builtin = new Map([[globalThis.setTimeout, timersPromises.setTimeout], [globalThis.setImmediate, timersPromises.setImmediate]]);

export function promisify(original) {
  needFunction(original, "original");
  const custom = original[promisify.custom] ?? builtin.get(original);
  if (custom !== undefined) {
    needFunction(custom, "util.promisify.custom");
    return Object.defineProperty(custom, promisify.custom, { value: custom, configurable: true });
  }
  const made = promisified(original);
  Object.setPrototypeOf(made, Object.getPrototypeOf(original));
  Object.defineProperty(made, promisify.custom, { value: made, configurable: true });
  return Object.defineProperties(made, Object.getOwnPropertyDescriptors(original));
}
promisify.custom = Symbol.for("nodejs.util.promisify.custom");

export function callbackify(original) {
  needFunction(original, "original");
  return function callbackified(...args) {
    const callback = args.pop();
    needFunction(callback, "last argument");
    // Called outside of the promise: what it throws is nobody's rejection.
    const later = (...results) => queueMicrotask(() => Reflect.apply(callback, this, results));
    Reflect.apply(original, this, args).then(
      (value) => later(null, value),
      (reason) => later(reason || codedError(new Error("Promise was rejected with a falsy value"), "ERR_FALSY_VALUE_REJECTION", { reason })),
    );
  };
}

export function deprecate(fn, message, code = undefined) {
  let told = false;
  function deprecated(...args) {
    if (!told) {
      told = true;
      native.log.print(LEVEL_WARN, `DeprecationWarning: ${code === undefined ? "" : `[${code}] `}${message}`);
    }
    return new.target ? Reflect.construct(fn, args, new.target) : Reflect.apply(fn, this, args);
  }
  Object.setPrototypeOf(deprecated, fn);
  if (fn.prototype) deprecated.prototype = fn.prototype;
  return deprecated;
}

// Sections are named in the environment's NODE_DEBUG, separated by commas; `*` stands for any text.
export function debuglog(section, callback = undefined) {
  let enabled;
  const isOn = () => {
    if (enabled === undefined) {
      const wanted = String(Wapo.env.NODE_DEBUG ?? "").split(",").map((name) => name.trim().toUpperCase());
      enabled = wanted.some((name) => name !== "" && matches(name, String(section).toUpperCase()));
      if (enabled) callback?.(log);
    }
    return enabled;
  };
  const log = (...args) => { if (isOn()) native.log.print(1, `${String(section).toUpperCase()} 1: ${formatList(args)}`); };
  return Object.defineProperty(log, "enabled", { get: isOn, enumerable: true });
}
export const debug = debuglog;

function matches(pattern, name) {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === name;
  if (!name.startsWith(parts[0])) return false;
  let at = parts[0].length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - at >= parts.at(-1).length && name.endsWith(parts.at(-1));
}

export const isArray = Array.isArray;
export const isDeepStrictEqual = (a, b) => isDeepEqual(a, b, true);
export const toUSVString = (value) => String(value).toWellFormed();
export const stripVTControlCharacters = (text) => String(text).replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g, "");

const STYLES = {
  bold: [1, 22], dim: [2, 22], italic: [3, 23], underline: [4, 24], inverse: [7, 27], strikethrough: [9, 29],
  black: [30, 39], red: [31, 39], green: [32, 39], yellow: [33, 39], blue: [34, 39], magenta: [35, 39], cyan: [36, 39], white: [37, 39], gray: [90, 39], grey: [90, 39],
  bgBlack: [40, 49], bgRed: [41, 49], bgGreen: [42, 49], bgYellow: [43, 49], bgBlue: [44, 49], bgMagenta: [45, 49], bgCyan: [46, 49], bgWhite: [47, 49],
};
inspect.colors = STYLES;

export function styleText(style, text) {
  let out = String(text);
  for (const name of [style].flat().reverse()) {
    if (!Object.hasOwn(STYLES, name)) throw codedError(new TypeError(`styleText: there is no style ${show(name)}`), "ERR_INVALID_ARG_VALUE");
    out = `\u001b[${STYLES[name][0]}m${out}\u001b[${STYLES[name][1]}m`;
  }
  return out;
}

export function aborted(signal, resource) {
  if (resource === undefined) return Promise.reject(new TypeError("aborted: there is no resource"));
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

export default {
  TextDecoder, TextEncoder, aborted, callbackify, debug, debuglog, deprecate, format, formatWithOptions, inherits, inspect, isArray,
  isDeepStrictEqual, promisify, stripVTControlCharacters, styleText, toUSVString, types,
};
