// What programs for Wapo 0.x get as "opaque" values, and the ids of what runs.
import native from "wapo:native";
import { bytesOf } from "../web/idl.js";

// Something that is given out, taken back once, and means nothing elsewhere.
export class Opaque {
  #value;
  #kind;
  constructor(kind, value) {
    this.#kind = kind;
    this.#value = value;
  }
  static take(handle, kind) {
    const value = Opaque.peek(handle, kind);
    handle.#value = undefined;
    return value;
  }
  static peek(handle, kind) {
    if (!(#kind in Object(handle)) || handle.#kind !== kind) throw new TypeError(`expected a ${kind}`);
    if (handle.#value === undefined) throw new TypeError(`this ${kind} was used already`);
    return handle.#value;
  }
}
Object.defineProperty(Opaque.prototype, Symbol.toStringTag, { value: "Opaque", configurable: true });

// What `Wapo.close(id)` ends. Ids are never used twice, so a late `close` harms nothing else.
const running = new Map();
let lastId = 0;

export function open(end) {
  running.set(++lastId, end);
  return lastId;
}

export function over(id) {
  running.delete(id);
}

export function close(id) {
  const end = running.get(id);
  running.delete(id);
  end?.();
}

// Uint8Array, other views, ArrayBuffer, arrays of 0 to 255. Text is given as it is: natives take it as UTF-8.
export function bytes(value, where) {
  if (typeof value === "string") return value;
  const view = bytesOf(value);
  if (view) return view;
  if (Array.isArray(value) && value.every((item) => Number.isInteger(item) && item >= 0 && item <= 255)) return Uint8Array.from(value);
  throw new TypeError(`${where}: expected bytes or text`);
}

// As `bytes`, with text as the bytes of its UTF-8.
export function view(value, where) {
  const given = bytes(value, where);
  return typeof given === "string" ? native.text.encode(given) : given;
}

export function callable(value, where) {
  if (typeof value !== "function") throw new TypeError(`${where}: expected a function`);
  return value;
}

// Header fields as pairs or as an object, to a flat list.
export function flat(headers) {
  if (headers === undefined || headers === null) return [];
  const pairs = typeof headers[Symbol.iterator] === "function" ? [...headers] : Object.entries(headers);
  return pairs.flatMap(([name, value]) => [String(name).toLowerCase(), String(value)]);
}

export function pairs(list) {
  const result = [];
  for (let i = 0; i < list.length; i += 2) result.push([list[i], list[i + 1]]);
  return result;
}
