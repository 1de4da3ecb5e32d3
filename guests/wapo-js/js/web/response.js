// Response.
// Fetch Living Standard, 5.5. `webSocket` and the status 101 are the extension that edge runtimes share.
import native from "wapo:native";
import { INTERNAL, byteString, dictionary, finish, isObject, need, unsignedShort, usv } from "./idl.js";
import { cloneBody, extract, extracted, isUnusable, mixBody } from "./body.js";
import { fill, headersOver, listGet } from "./headers.js";

const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;
const REDIRECT = [301, 302, 303, 307, 308];
// Statuses whose answers have no body (Fetch, 2.2.3).
export const NULL_BODY = [101, 103, 204, 205, 304];

let get, is;

export class Response {
  // list: header list; headers: the object over it, when a program asked
  #s;

  constructor(body = null, init = undefined) {
    if (body === INTERNAL) {
      this.#s = init;
      return;
    }
    const s = this.#s = newState();
    if (init !== undefined && init !== null) applyInit(s, init);
    if (body !== null && body !== undefined) setBody(s, extract(body), extracted.type);
  }

  static {
    get = (r) => r.#s;
    is = (r) => isObject(r) && #s in r;
  }

  static error() {
    return new Response(INTERNAL, { ...newState(), status: 0, type: "error", fixed: true });
  }

  static redirect(url, status = 302) {
    need(arguments.length, 1, "Response.redirect");
    const p = native.url.parse(usv(url), undefined);
    if (p === null) throw new TypeError("Response.redirect: invalid URL (an absolute one is needed)");
    const code = unsignedShort(status);
    if (!REDIRECT.includes(code)) throw new RangeError(`Response.redirect: ${code} is not a redirect`);
    return new Response(INTERNAL, { ...newState(), status: code, list: ["location", p[0]], fixed: true });
  }

  static json(data, init = undefined) {
    need(arguments.length, 1, "Response.json");
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json: the value has no JSON form");
    const s = newState();
    if (init !== undefined && init !== null) applyInit(s, init);
    setBody(s, extract(text), "application/json");
    return new Response(INTERNAL, s);
  }

  get type() { return this.#s.type; }
  get url() { return this.#s.url; }
  get redirected() { return this.#s.redirected; }
  get status() { return this.#s.status; }
  get ok() { return this.#s.status >= 200 && this.#s.status <= 299; }
  get statusText() { return this.#s.statusText; }
  get headers() { return (this.#s.headers ??= headersOver(this.#s.list, this.#s.fixed)); }
  get webSocket() { return this.#s.webSocket; }

  clone() {
    const s = this.#s;
    if (isUnusable(s.body)) throw new TypeError("Response.clone: the body was read already or its stream is locked");
    if (s.webSocket !== null) throw new TypeError("Response.clone: a WebSocket cannot be copied");
    return new Response(INTERNAL, { ...s, list: [...s.list], headers: null, body: cloneBody(s.body) });
  }
}
Object.defineProperty(Response, "length", { value: 0, configurable: true });
Object.defineProperty(Response.redirect, "length", { value: 1, configurable: true });
finish(Response, "Response");
mixBody(Response, get, (s) => s.list);

export { get as responseState, is as isResponse };

function newState() {
  return { status: 200, statusText: "", list: [], headers: null, fixed: false, body: null, type: "default", url: "", redirected: false, webSocket: null };
}

function applyInit(s, init) {
  const d = dictionary(init, "Response");
  const { headers, status, statusText, webSocket } = d;
  if (status !== undefined) {
    const code = unsignedShort(status);
    if ((code < 200 || code > 599) && !(code === 101 && webSocket)) throw new RangeError(`Response: the status ${code} is not between 200 and 599`);
    s.status = code;
  }
  if (statusText !== undefined) {
    const reason = byteString(statusText, "Response statusText");
    if (!REASON.test(reason)) throw new TypeError("Response: the status text has a control character");
    s.statusText = reason;
  }
  if (webSocket !== undefined && webSocket !== null) {
    if (s.status !== 101) throw new RangeError("Response: a WebSocket needs the status 101");
    s.webSocket = webSocket;
  }
  if (headers !== undefined) fill(s.list, headers);
}

function setBody(s, body, type) {
  if (s.status !== 200 && NULL_BODY.includes(s.status)) throw new TypeError(`Response: the status ${s.status} has no body`);
  s.body = body;
  if (type !== null && listGet(s.list, "content-type") === null) s.list.push("content-type", type);
}

// A Response that the platform makes: the answer of a fetch.
export function responseOf(parts) {
  return new Response(INTERNAL, { ...newState(), ...parts });
}

