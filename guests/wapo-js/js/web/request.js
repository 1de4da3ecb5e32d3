// Request.
// Fetch Living Standard, 5.4. There is no document: relative addresses are refused, and mode, cache, credentials and the
// like are kept and shown but change nothing. Header names are not restricted, as usual outside of browsers.
import native from "wapo:native";
import { INTERNAL, TOKEN, byteString, dictionary, finish, isObject, need, oneOf, text, usv } from "./idl.js";
import { anySignal, isSignal, newSignal, signalAbort } from "./abort.js";
import { bodyFor, cloneBody, extract, extracted, isUnusable, mixBody, moveBody } from "./body.js";
import { fill, headerList, headersOfExchange, headersOver, listDelete, listGet } from "./headers.js";
import { isStream } from "./streams.js";

const UPPER = /^(delete|get|head|options|post|put)$/i;
const FORBIDDEN = /^(connect|trace|track)$/i;

// Members of RequestInit that are kept as text, with what they may be and what they are when absent.
const ENUMS = {
  mode: [["same-origin", "no-cors", "cors", "navigate"], "cors"],
  credentials: [["omit", "same-origin", "include"], "same-origin"],
  cache: [["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"], "default"],
  redirect: [["follow", "error", "manual"], "follow"],
  referrerPolicy: [["", "no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin", "origin-when-cross-origin",
    "strict-origin-when-cross-origin", "unsafe-url"], ""],
};
const PLAIN = { mode: "cors", credentials: "same-origin", cache: "default", redirect: "follow", referrerPolicy: "", referrer: "about:client", integrity: "", keepalive: false };

let get, is;

export class Request {
  #s;

  constructor(input, init = undefined) {
    if (input === INTERNAL) {
      this.#s = init;
      return;
    }
    need(arguments.length, 1, "Request");
    this.#s = stateFrom(input, dictionary(init, "Request"));
  }

  static {
    get = (r) => r.#s;
    is = (r) => isObject(r) && #s in r;
  }

  get method() { return (this.#s.method ??= this.#s.exchange.method); }
  get url() { return (this.#s.url ??= serializeUrl(this.#s.exchange.url)); }
  get headers() { return headersFor(this.#s); }
  get destination() { return (this.#s, ""); }
  get referrer() { return this.#s.options.referrer; }
  get referrerPolicy() { return this.#s.options.referrerPolicy; }
  get mode() { return this.#s.options.mode; }
  get credentials() { return this.#s.options.credentials; }
  get cache() { return this.#s.options.cache; }
  get redirect() { return this.#s.options.redirect; }
  get integrity() { return this.#s.options.integrity; }
  get keepalive() { return this.#s.options.keepalive; }
  get isReloadNavigation() { return (this.#s, false); }
  get isHistoryNavigation() { return (this.#s, false); }
  get signal() { return signalFor(this.#s); }
  get duplex() { return (this.#s, "half"); }

  clone() {
    const s = this.#s, body = bodyFor(s);
    if (isUnusable(body)) throw new TypeError("Request.clone: the body was read already or its stream is locked");
    return new Request(INTERNAL, {
      exchange: null, method: this.method, url: this.url, headers: headersOver([...headerList(this.headers)], false),
      body: cloneBody(body), signal: anySignal([this.signal]), options: s.options,
    });
  }
}
finish(Request, "Request");
mixBody(Request, get, (s) => headerList(headersFor(s)));

export { get as requestState, is as isRequest };

function headersFor(s) {
  return (s.headers ??= headersOfExchange(s.exchange));
}

// The signal is made when a program asks; until then a client that leaves costs nothing.
export function signalFor(s) {
  if (s.signal === null) {
    const signal = s.signal = newSignal();
    s.exchange?.onAbort(() => signalAbort(signal, clientGone()));
  }
  return s.signal;
}

export function clientGone() {
  return new DOMException("The client is gone", "AbortError");
}

export function requestOfExchange(exchange) {
  return new Request(INTERNAL, { exchange, method: undefined, url: undefined, headers: undefined, body: undefined, signal: null, options: PLAIN });
}

// A path that the URL parser would leave as it is: no dot segments, however they are written, and nothing to encode.
const PLAIN_PATH = /^\/(?:[\w\-~!$&()*+,;=:@/?]|(?<!\/)\.|%(?!2e))*$/i;
// A longer one goes to the parser: the engine's regular expressions keep a place to come back to for each character.
const PLAIN_MAX = 1024;
// The origin that was seen last, and its serialization: a service has few.
let lastOrigin = "", lastSerialized = "";

// What came over the wire as a URL of the standard: a program must not see "/a/../b" in one place and "/b" in another.
function serializeUrl(raw) {
  const slash = raw.indexOf("/", raw.indexOf("//") + 2), origin = raw.slice(0, slash);
  if (slash > 0 && raw.length <= PLAIN_MAX && PLAIN_PATH.test(raw.slice(slash))) {
    if (origin === lastOrigin) return lastSerialized + raw.slice(slash);
    const p = native.url.parse(`${origin}/`, undefined);
    if (p !== null && p[6] === p[0].length - 1) {
      lastOrigin = origin;
      lastSerialized = p[0].slice(0, -1);
      return lastSerialized + raw.slice(slash);
    }
  }
  const p = native.url.parse(raw, undefined);
  return p === null ? raw : p[0];
}

function methodOf(value) {
  const s = byteString(value, "Request method");
  if (!TOKEN.test(s)) throw new TypeError(`Request: "${s}" is not a method`);
  if (FORBIDDEN.test(s)) throw new TypeError(`Request: the method ${s} is not allowed`);
  return UPPER.test(s) ? s.toUpperCase() : s;
}

export function addressOf(input) {
  const p = native.url.parse(usv(input), undefined);
  if (p === null) throw new TypeError("Request: invalid URL (an absolute one is needed)");
  if (p[3] !== p[1] + 3 && p[0].startsWith("//", p[1] + 1)) throw new TypeError("Request: the URL has credentials");
  return p[0];
}

function optionsFrom(base, init) {
  let out = base;
  const put = (key, value) => { out = { ...out, [key]: value }; };
  for (const key in ENUMS) if (init[key] !== undefined) put(key, oneOf(init[key], ENUMS[key][0], `Request ${key}`));
  if (init.referrer !== undefined) put("referrer", referrerOf(usv(init.referrer)));
  if (init.priority !== undefined) oneOf(init.priority, ["high", "low", "auto"], "Request priority");
  if (init.integrity !== undefined) put("integrity", text(init.integrity));
  if (init.keepalive !== undefined) put("keepalive", !!init.keepalive);
  if (out.mode === "navigate") throw new TypeError("Request: the mode navigate is not allowed");
  if (out.cache === "only-if-cached" && out.mode !== "same-origin") throw new TypeError("Request: only-if-cached needs the mode same-origin");
  return out;
}

function referrerOf(given) {
  if (given === "" || given === "about:client") return given;
  const p = native.url.parse(given, undefined);
  if (p === null) throw new TypeError("Request: the referrer is no URL");
  return p[0];
}

function stateFrom(input, init) {
  const old = is(input) ? get(input) : null;
  const url = old ? input.url : addressOf(input);
  if (init.window !== undefined && init.window !== null) throw new TypeError("Request: window can only be null");
  const options = optionsFrom(old ? old.options : PLAIN, init);
  const method = init.method !== undefined ? methodOf(init.method) : old ? input.method : "GET";
  if (options.mode === "no-cors" && !/^(GET|HEAD|POST)$/.test(method)) throw new TypeError(`Request: the method ${method} does not go with the mode no-cors`);
  let signal = old ? signalFor(old) : null;
  if (init.signal !== undefined) {
    if (init.signal !== null && !isSignal(init.signal)) throw new TypeError("Request: signal is not an AbortSignal");
    signal = init.signal;
  }
  const list = old ? [...headerList(headersFor(old))] : [];
  if (init.headers !== undefined) {
    list.length = 0;
    fill(list, init.headers);
  }
  const oldBody = old ? bodyFor(old) : null;
  const given = init.body !== undefined && init.body !== null;
  if ((given || oldBody !== null) && (method === "GET" || method === "HEAD")) throw new TypeError(`Request: ${method} has no body`);
  let body = null;
  if (given) {
    if (isStream(init.body) && options.keepalive) throw new TypeError("Request: a stream as a body does not go with keepalive");
    if (isStream(init.body) && init.duplex === undefined) throw new TypeError("Request: a stream as a body needs duplex: \"half\"");
    body = extract(init.body);
    if (extracted.type !== null && listGet(list, "content-type") === null) list.push("content-type", extracted.type);
  }
  if (init.duplex !== undefined) oneOf(init.duplex, ["half"], "Request duplex");
  if (!given && oldBody !== null) {
    if (isUnusable(oldBody)) throw new TypeError("Request: the body of the other request was read already or its stream is locked");
    body = moveBody(oldBody);
  }
  return { exchange: null, method, url, headers: headersOver(list, false), body, signal: signal === null ? newSignal() : anySignal([signal]), options };
}

// For fetch(): the header lines that describe a body, which go with it (4.4, HTTP-redirect fetch, step 13).
export function dropBodyHeaders(list) {
  for (const name of ["content-encoding", "content-language", "content-location", "content-type", "content-length"]) listDelete(list, name);
}
