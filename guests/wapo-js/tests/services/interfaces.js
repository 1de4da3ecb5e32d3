// Shapes of interfaces: what Web IDL 3.7 wants of every class, operation and attribute of Ecma-429's list.
import { service, thrown } from "./check.js";

const LENGTHS = {
  AbortController: 0, AbortSignal: 0, Blob: 0, ByteLengthQueuingStrategy: 1, CloseEvent: 1, CompressionStream: 1, CountQueuingStrategy: 1,
  CustomEvent: 1, DecompressionStream: 1, ErrorEvent: 1, Event: 1, EventSource: 1, EventTarget: 0, File: 2, FormData: 0, Headers: 0,
  MessageChannel: 0, MessageEvent: 1, PromiseRejectionEvent: 2, ReadableStream: 0, Request: 1, Response: 0, TextDecoder: 0,
  TextDecoderStream: 0, TextEncoder: 0, TextEncoderStream: 0, TransformStream: 0, URL: 1, URLPattern: 0, URLSearchParams: 0, WebSocket: 1,
  WritableStream: 0,
};
const OPERATIONS = [
  ["AbortController", "abort", 0], ["Blob", "slice", 0], ["Event", "initEvent", 1], ["EventTarget", "addEventListener", 2],
  ["EventTarget", "dispatchEvent", 1], ["FormData", "append", 2], ["Headers", "append", 2], ["Headers", "entries", 0], ["Headers", "forEach", 1],
  ["Headers", "get", 1], ["MessagePort", "postMessage", 1], ["Response", "clone", 0], ["TextDecoder", "decode", 0], ["TextEncoder", "encode", 0],
  ["TextEncoder", "encodeInto", 2], ["URLSearchParams", "has", 1], ["WebSocket", "close", 0], ["WebSocket", "send", 1],
];
const ATTRIBUTES = [
  ["AbortSignal", "aborted"], ["Blob", "size"], ["CompressionStream", "readable"], ["Event", "type"], ["Request", "url"], ["Request", "body"],
  ["Response", "status"], ["TextDecoder", "encoding"], ["TextEncoder", "encoding"], ["URL", "href"], ["WebSocket", "url"],
];
const GLOBALS = [
  "addEventListener", "atob", "btoa", "clearInterval", "clearTimeout", "console", "crypto", "DOMException", "dispatchEvent", "fetch", "navigator",
  "performance", "queueMicrotask", "removeEventListener", "reportError", "self", "setInterval", "setTimeout", "structuredClone",
];

const flags = (object, key) => {
  const d = Object.getOwnPropertyDescriptor(object, key);
  return d && [d.enumerable, d.configurable, d.writable];
};

export default service({
  classes(equal) {
    for (const [name, length] of Object.entries(LENGTHS)) {
      const cls = globalThis[name];
      equal(`${name} is there`, typeof cls, "function");
      equal(`${name}.length and name`, [cls.length, cls.name], [length, name]);
      equal(`${name} as a global`, flags(globalThis, name), [false, true, true]);
      equal(`${name} prototype`, flags(cls, "prototype"), [false, false, false]);
      equal(`${name} tag`, [cls.prototype[Symbol.toStringTag], ...flags(cls.prototype, Symbol.toStringTag)], [name, false, true, false]);
      equal(`${name} needs new`, thrown(() => cls()), "TypeError");
    }
  },
  members(equal) {
    for (const [cls, key, length] of OPERATIONS) {
      const { prototype } = globalThis[cls];
      equal(`${cls}.${key}`, [prototype[key].length, prototype[key].name, ...flags(prototype, key)], [length, key, true, true, true]);
    }
    for (const [cls, key] of ATTRIBUTES) {
      const d = Object.getOwnPropertyDescriptor(globalThis[cls].prototype, key);
      equal(`${cls}.${key} is an accessor`, [typeof d.get, d.enumerable, d.configurable], ["function", true, true]);
      equal(`${cls}.${key} of another object`, thrown(() => d.get.call({})), "TypeError");
    }
    equal("constants", [Event.AT_TARGET, ...flags(Event, "AT_TARGET"), WebSocket.prototype.CLOSED], [2, true, false, false, 3]);
    equal("an iterator is its entries", Headers.prototype[Symbol.iterator] === Headers.prototype.entries, true);
    equal("statics", [Response.json.length, Response.redirect.length, AbortSignal.any.length, URL.canParse.length, structuredClone.length, fetch.length], [1, 1, 1, 1, 1, 1]);
  },
  global(equal) {
    for (const key of GLOBALS) equal(key, typeof globalThis[key] !== "undefined", true);
    equal("operations are enumerable", flags(globalThis, "fetch"), [true, true, true]);
    equal("names", [fetch.name, setTimeout.name, structuredClone.name], ["fetch", "setTimeout", "structuredClone"]);
    equal("self", self === globalThis, true);
    equal("no constructor", [thrown(() => new MessagePort()), thrown(() => new AbortSignal()), thrown(() => new navigator.constructor())], ["TypeError", "TypeError", "TypeError"]);
    equal("user agent", typeof navigator.userAgent, "string");
    equal("promises are not thrown at", (() => { const p = Response.prototype.text.call({}); p.catch(() => {}); return p instanceof Promise; })(), true);
  },
});
