// URLSearchParams and application/x-www-form-urlencoded.
// URL Living Standard, 5 and 6.2. A URL that owns one is told of every change by `onChange`.
import native from "wapo:native";
import { finish, isObject, need, pairIterable, record, sequenceBy, usv } from "./idl.js";

function decodePart(s) {
  const spaced = s.includes("+") ? s.replaceAll("+", " ") : s;
  return spaced.includes("%") ? percentDecode(spaced) : spaced;
}

const hex = (code) => (code >= 48 && code <= 57 ? code - 48 : code >= 65 && code <= 70 ? code - 55 : code >= 97 && code <= 102 ? code - 87 : -1);

function percentDecode(s) {
  return native.text.decode(percentBytes(s), false, true);
}

export function percentBytes(s) {
  const bytes = native.text.encode(s);
  let to = 0;
  for (let i = 0; i < bytes.length; i++) {
    const a = bytes[i] === 37 ? hex(bytes[i + 1]) : -1, b = a < 0 ? -1 : hex(bytes[i + 2]);
    if (b < 0) bytes[to++] = bytes[i];
    else {
      bytes[to++] = a * 16 + b;
      i += 2;
    }
  }
  return bytes.subarray(0, to);
}

// Pairs [name, value] of the text.
export function parseForm(input) {
  const out = [];
  for (let from = 0; from < input.length;) {
    const next = input.indexOf("&", from), end = next < 0 ? input.length : next;
    const part = input.slice(from, end);
    from = end + 1;
    if (part === "") continue;
    const equals = part.indexOf("=");
    out.push(equals < 0 ? [decodePart(part), ""] : [decodePart(part.slice(0, equals)), decodePart(part.slice(equals + 1))]);
  }
  return out;
}

const PLAIN = /^[A-Za-z0-9*\-._]*$/;

function encodePart(s) {
  if (PLAIN.test(s)) return s;
  return encodeURIComponent(s.toWellFormed()).replace(/%20|[!'()~]/g, (c) => (c === "%20" ? "+" : `%${c.charCodeAt(0).toString(16).toUpperCase()}`));
}

export function serializeForm(list) {
  let out = "";
  for (const [name, value] of list) out += `${out === "" ? "" : "&"}${encodePart(name)}=${encodePart(value)}`;
  return out;
}

let get, is, owned, replace;

export class URLSearchParams {
  #list = [];
  #onChange = null;

  constructor(init = "") {
    if (!isObject(init)) {
      const s = usv(init);
      this.#list = parseForm(s[0] === "?" ? s.slice(1) : s);
      return;
    }
    const method = init[Symbol.iterator];
    if (method === undefined || method === null) {
      const seen = new Map(), flat = record(init, usv, usv);
      for (let i = 0; i < flat.length; i += 2) seen.set(flat[i], flat[i + 1]);
      this.#list = [...seen];
      return;
    }
    if (typeof method !== "function") throw new TypeError("URLSearchParams: the argument is not iterable");
    for (const pair of sequenceBy(init, method, pairOf)) {
      if (pair.length !== 2) throw new TypeError("URLSearchParams: an item does not have exactly a name and a value");
      this.#list.push(pair);
    }
  }

  static {
    get = (p) => p.#list;
    is = (p) => isObject(p) && #list in p;
    owned = (list, onChange) => {
      const p = new URLSearchParams();
      p.#list = list;
      p.#onChange = onChange;
      return p;
    };
    replace = (p, list) => { p.#list = list; };
    pairIterable(URLSearchParams, "URLSearchParams", (p) => p.#list);
  }

  #changed(list) {
    this.#list = list;
    this.#onChange?.(serializeForm(list));
  }

  get size() { return this.#list.length; }

  append(name, value) {
    need(arguments.length, 2, "URLSearchParams.append");
    const pair = [usv(name), usv(value)], list = this.#list;
    list.push(pair);
    this.#changed(list);
  }

  delete(name, value = undefined) {
    need(arguments.length, 1, "URLSearchParams.delete");
    const n = usv(name), v = value === undefined ? undefined : usv(value);
    this.#changed(this.#list.filter((p) => p[0] !== n || (v !== undefined && p[1] !== v)));
  }

  get(name) {
    need(arguments.length, 1, "URLSearchParams.get");
    const n = usv(name), found = this.#list.find((p) => p[0] === n);
    return found === undefined ? null : found[1];
  }

  getAll(name) {
    need(arguments.length, 1, "URLSearchParams.getAll");
    const n = usv(name);
    return this.#list.filter((p) => p[0] === n).map((p) => p[1]);
  }

  has(name, value = undefined) {
    need(arguments.length, 1, "URLSearchParams.has");
    const n = usv(name), v = value === undefined ? undefined : usv(value);
    return this.#list.some((p) => p[0] === n && (v === undefined || p[1] === v));
  }

  set(name, value) {
    need(arguments.length, 2, "URLSearchParams.set");
    const n = usv(name), v = usv(value), list = this.#list;
    const first = list.findIndex((p) => p[0] === n);
    if (first < 0) this.#changed([...list, [n, v]]);
    else this.#changed(list.filter((p, i) => i === first || p[0] !== n).with(first, [n, v]));
  }

  sort() {
    this.#changed(this.#list.toSorted((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)));
  }

  toString() { return serializeForm(this.#list); }
}
Object.defineProperty(URLSearchParams, "length", { value: 0, configurable: true });
for (const key of ["delete", "has"]) Object.defineProperty(URLSearchParams.prototype[key], "length", { value: 1, configurable: true });
finish(URLSearchParams, "URLSearchParams");

function pairOf(pair) {
  if (!isObject(pair) || typeof pair[Symbol.iterator] !== "function") throw new TypeError("URLSearchParams: an item is not a pair");
  return sequenceBy(pair, pair[Symbol.iterator], usv);
}

export { get as paramsList, is as isParams, owned as ownedParams, replace as replaceParams };
