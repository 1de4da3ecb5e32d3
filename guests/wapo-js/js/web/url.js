// URL, parsed by the engine (the `url` crate). Here are slices of its text, and the tie to URLSearchParams.
// URL Living Standard, 6.1.
import native from "wapo:native";
import { finish, need, usv } from "./idl.js";
import { ownedParams, parseForm, replaceParams } from "./search-params.js";

// Places in the array that native.url gives.
const HREF = 0, SCHEME_END = 1, USER_END = 2, HOST_START = 3, HOST_END = 4, PORT = 5, PATH = 6, QUERY = 7, FRAGMENT = 8;

function parse(url, base) {
  return native.url.parse(usv(url), base === undefined ? undefined : usv(base));
}

function queryOf(p) {
  if (p[QUERY] < 0) return "";
  return p[HREF].slice(p[QUERY], p[FRAGMENT] < 0 ? undefined : p[FRAGMENT]);
}

export class URL {
  #p;
  #params = null;

  constructor(url, base = undefined) {
    need(arguments.length, 1, "URL");
    const p = Array.isArray(url) && parsed.has(url) ? url : parse(url, base);
    if (p === null) throw new TypeError(base === undefined ? "Invalid URL" : "Invalid URL, or a base that cannot have one beside it");
    this.#p = p;
  }

  static canParse(url, base = undefined) {
    need(arguments.length, 1, "URL.canParse");
    return native.url.can(usv(url), base === undefined ? undefined : usv(base));
  }

  static parse(url, base = undefined) {
    need(arguments.length, 1, "URL.parse");
    const p = parse(url, base);
    if (p === null) return null;
    parsed.add(p);
    return new URL(p);
  }

  #set(part, value) {
    const before = this.#params === null ? "" : queryOf(this.#p);
    this.#p = native.url.set(this.#p[HREF], part, usv(value));
    if (this.#params !== null && queryOf(this.#p) !== before) this.#renew();
  }

  #renew() {
    if (this.#params !== null) replaceParams(this.#params, parseForm(queryOf(this.#p).slice(1)));
  }

  get href() { return this.#p[HREF]; }
  set href(value) {
    const p = parse(value, undefined);
    if (p === null) throw new TypeError("Invalid URL");
    this.#p = p;
    this.#renew();
  }

  get origin() {
    const p = this.#p, scheme = p[HREF].slice(0, p[SCHEME_END]);
    if (/^(https?|wss?|ftp)$/.test(scheme)) return `${scheme}://${this.host}`;
    if (scheme !== "blob") return "null";
    const inner = native.url.parse(p[HREF].slice(p[PATH], p[QUERY] < 0 ? undefined : p[QUERY]), undefined);
    if (inner === null || !/^https?:/.test(inner[HREF])) return "null";
    parsed.add(inner);
    return new URL(inner).origin;
  }

  get protocol() { return this.#p[HREF].slice(0, this.#p[SCHEME_END] + 1); }
  set protocol(value) { this.#set("protocol", value); }

  get username() {
    const p = this.#p, start = p[SCHEME_END] + 3;
    return p[USER_END] > start ? p[HREF].slice(start, p[USER_END]) : "";
  }
  set username(value) { this.#set("username", value); }

  get password() {
    const p = this.#p;
    return p[HREF][p[USER_END]] === ":" && p[HOST_START] > p[USER_END] + 1 ? p[HREF].slice(p[USER_END] + 1, p[HOST_START] - 1) : "";
  }
  set password(value) { this.#set("password", value); }

  get host() { return this.hostname + (this.#p[PORT] < 0 ? "" : `:${this.#p[PORT]}`); }
  set host(value) { this.#set("host", value); }

  get hostname() { return this.#p[HREF].slice(this.#p[HOST_START], this.#p[HOST_END]); }
  set hostname(value) { this.#set("hostname", value); }

  get port() { return this.#p[PORT] < 0 ? "" : String(this.#p[PORT]); }
  set port(value) { this.#set("port", value); }

  get pathname() {
    const p = this.#p, end = p[QUERY] >= 0 ? p[QUERY] : p[FRAGMENT] >= 0 ? p[FRAGMENT] : undefined;
    return p[HREF].slice(p[PATH], end);
  }
  set pathname(value) { this.#set("pathname", value); }

  get search() {
    const q = queryOf(this.#p);
    return q === "?" ? "" : q;
  }
  set search(value) { this.#set("search", value); this.#renew(); }

  get searchParams() {
    return (this.#params ??= ownedParams(parseForm(queryOf(this.#p).slice(1)), (text) => {
      this.#p = native.url.set(this.#p[HREF], "search", text);
    }));
  }

  get hash() {
    const p = this.#p;
    return p[FRAGMENT] < 0 || p[FRAGMENT] + 1 === p[HREF].length ? "" : p[HREF].slice(p[FRAGMENT]);
  }
  set hash(value) { this.#set("hash", value); }

  toString() { return this.#p[HREF]; }
  toJSON() { return this.#p[HREF]; }
}
Object.defineProperty(URL, "length", { value: 1, configurable: true });
finish(URL, "URL");

// Arrays that URL.parse hands to the constructor; no program has one.
const parsed = new WeakSet();

// Scheme and authority of a serialized URL that has one: what is before its path.
export const originOf = (href) => /^[^/]*\/\/[^/?#]*/.exec(href)[0];
