// Headers and the header list behind it.
// Fetch Living Standard, 2.2.2 (headers) and 5.1 (Headers class). Names are kept in lower case; the wire does not tell them apart.
import { INTERNAL, TOKEN, byteString, finish, isObject, need, pairIterable, record, sequenceBy, trimmed } from "./idl.js";

const FORBIDDEN_IN_VALUE = /[\0\r\n]/;

// Names seen before, with their lower-case form: most services use the same twenty.
const KNOWN_MAX = 256;
const known = new Map();

function headerName(value, where) {
  const seen = known.get(value);
  if (seen !== undefined) return seen;
  const name = byteString(value, where);
  if (!TOKEN.test(name)) throw new TypeError(`${where}: "${name}" is not a header name`);
  const lower = name.toLowerCase();
  if (known.size < KNOWN_MAX && name.length <= 64) known.set(name, lower);
  return lower;
}

// What nearly all values look like: one look finds that nothing is to be done. A look takes longer than all else about a
// field, so values that were seen before are remembered, as most services send the same again and again.
const CLEAN = /^[!-~](?:[ -~]*[!-~])?$/;
const cleanValues = new Set();

export function headerValue(value, where) {
  if (cleanValues.has(value)) return value;
  if (typeof value === "string" && CLEAN.test(value)) {
    if (cleanValues.size < KNOWN_MAX && value.length <= 64) cleanValues.add(value);
    return value;
  }
  const s = byteString(value, where);
  const v = trimmed(s);
  if (FORBIDDEN_IN_VALUE.test(v)) throw new TypeError(`${where}: a header value has a line break or a NUL`);
  return v;
}

let get, is, make;

export class Headers {
  // Flat list of names and values, as they were added; null as long as it is only in the exchange.
  #list;
  #fixed = false;
  #exchange = null;
  #sorted = null;

  constructor(init = undefined) {
    if (init === INTERNAL) return;
    this.#list = [];
    if (init !== undefined) fill(this.#list, init);
  }

  static {
    get = (h) => (h.#list ??= h.#exchange.headers);
    is = (h) => isObject(h) && #list in h;
    make = (list, fixed, exchange) => {
      const h = new Headers(INTERNAL);
      h.#list = list;
      h.#fixed = fixed;
      h.#exchange = exchange;
      return h;
    };
    pairIterable(Headers, "Headers", (h) => (h.#sorted ??= sortAndCombine(get(h))));
  }

  // The list, to be changed.
  #writable(where) {
    if (this.#fixed) throw new TypeError(`${where}: these headers cannot be changed`);
    this.#sorted = null;
    return get(this);
  }

  append(name, value) {
    need(arguments.length, 2, "Headers.append");
    const n = headerName(name, "Headers.append"), v = headerValue(value, "Headers.append");
    this.#writable("Headers.append").push(n, v);
  }

  delete(name) {
    need(arguments.length, 1, "Headers.delete");
    const n = headerName(name, "Headers.delete");
    listDelete(this.#writable("Headers.delete"), n);
  }

  get(name) {
    need(arguments.length, 1, "Headers.get");
    const n = headerName(name, "Headers.get");
    return this.#list === null ? this.#exchange.header(n) : listGet(this.#list, n);
  }

  getSetCookie() {
    const list = get(this), out = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] === "set-cookie") out.push(list[i + 1]);
    return out;
  }

  has(name) {
    need(arguments.length, 1, "Headers.has");
    const n = headerName(name, "Headers.has");
    return (this.#list === null ? this.#exchange.header(n) : listGet(this.#list, n)) !== null;
  }

  set(name, value) {
    need(arguments.length, 2, "Headers.set");
    const n = headerName(name, "Headers.set"), v = headerValue(value, "Headers.set");
    listSet(this.#writable("Headers.set"), n, v);
  }
}
finish(Headers, "Headers");

export { get as headerList };

// A Headers object over a list; `fixed`: guard "immutable".
export function headersOver(list, fixed) {
  return make(list, fixed, null);
}

// Those of a server's request: a single field is read without making the list.
export function headersOfExchange(exchange) {
  return make(null, false, exchange);
}

export function listGet(list, name) {
  let out = null;
  for (let i = 0; i < list.length; i += 2) {
    if (list[i] === name) out = out === null ? list[i + 1] : `${out}, ${list[i + 1]}`;
  }
  return out;
}

function listSet(list, name, value) {
  for (let i = 0; i < list.length; i += 2) {
    if (list[i] !== name) continue;
    list[i + 1] = value;
    let to = i + 2;
    for (let from = to; from < list.length; from += 2) {
      if (list[from] === name) continue;
      list[to++] = list[from];
      list[to++] = list[from + 1];
    }
    list.length = to;
    return;
  }
  list.push(name, value);
}

export function listDelete(list, name) {
  let to = 0;
  for (let from = 0; from < list.length; from += 2) {
    if (list[from] === name) continue;
    list[to++] = list[from];
    list[to++] = list[from + 1];
  }
  list.length = to;
}

// Adds what a HeadersInit has. A Headers object whose iterator nobody replaced is copied list to list.
export function fill(list, init) {
  if (is(init) && init[Symbol.iterator] === Headers.prototype.entries && init.entries === Headers.prototype.entries) {
    const from = get(init);
    for (let i = 0; i < from.length; i++) list.push(from[i]);
    return;
  }
  if (!isObject(init)) throw new TypeError("Headers: the argument is neither a sequence nor a record");
  const method = init[Symbol.iterator];
  if (method !== undefined && method !== null) fillFromSequence(list, init, method);
  else {
    const flat = record(init, nameToByteString, valueToByteString);
    for (let i = 0; i < flat.length; i += 2) list.push(headerName(flat[i], "Headers"), headerValue(flat[i + 1], "Headers"));
  }
}

const nameToByteString = (x) => (known.has(x) ? x : byteString(x, "Headers"));
const valueToByteString = (x) => (cleanValues.has(x) || (typeof x === "string" && CLEAN.test(x)) ? x : byteString(x, "Headers"));

function fillFromSequence(list, init, method) {
  if (typeof method !== "function") throw new TypeError("Headers: the argument is not iterable");
  const pairs = sequenceBy(init, method, (pair) => {
    if (!isObject(pair) || typeof pair[Symbol.iterator] !== "function") throw new TypeError("Headers: an item is not a pair");
    return sequenceBy(pair, pair[Symbol.iterator], valueToByteString);
  });
  for (const pair of pairs) {
    if (pair.length !== 2) throw new TypeError("Headers: an item does not have exactly a name and a value");
    list.push(headerName(pair[0], "Headers"), headerValue(pair[1], "Headers"));
  }
}

// 2.2.2 "sort and combine": names in order, values of one name joined, Set-Cookie never.
function sortAndCombine(list) {
  const byName = new Map(), out = [];
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i], value = list[i + 1], values = byName.get(name);
    if (values === undefined) byName.set(name, [value]);
    else values.push(value);
  }
  for (const name of [...byName.keys()].sort()) {
    const values = byName.get(name);
    if (name === "set-cookie") for (const v of values) out.push([name, v]);
    else out.push([name, values.join(", ")]);
  }
  return out;
}
