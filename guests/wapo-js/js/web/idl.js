// What Web IDL asks of every interface: conversions of arguments, shapes of prototypes, pair iterators.
// Web IDL Living Standard, 3.2 (type mapping) and 3.7 (interfaces). Every other module of js/web uses this one; it uses none.

export const INTERNAL = Symbol("internal");

const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, create } = Object;
const { ownKeys } = Reflect;
const iteratorPrototype = getPrototypeOf(getPrototypeOf([][Symbol.iterator]()));

// Finishes a class: members of the prototype and statics are enumerable, the tag is set, constants are on both objects.
// The name is given, because a bundler may have changed it.
export function finish(cls, name, { constants } = {}) {
  const { prototype } = cls;
  defineProperty(cls, "name", { value: name, configurable: true, enumerable: false, writable: false });
  for (const owner of [prototype, cls]) {
    for (const key of ownKeys(owner)) {
      // A class has members of these names that are the language's.
      if (typeof key === "symbol" || key === "constructor" || (owner === cls && ["prototype", "name", "length"].includes(key))) continue;
      const d = getOwnPropertyDescriptor(owner, key);
      if (d.configurable && !d.enumerable) defineProperty(owner, key, { ...d, enumerable: true });
    }
  }
  tag(prototype, name);
  for (const key in constants) {
    const d = { value: constants[key], enumerable: true, writable: false, configurable: false };
    defineProperty(cls, key, d);
    defineProperty(prototype, key, d);
  }
  return cls;
}

export function tag(object, name) {
  defineProperty(object, Symbol.toStringTag, { value: name, configurable: true, enumerable: false, writable: false });
}

// A global as Web IDL wants it: interfaces are not enumerable, operations and attributes are. Functions get the name of the
// global, because a bundler may have changed theirs.
export function expose(global, key, value, enumerable) {
  if (typeof value === "function") defineProperty(value, "name", { value: key, configurable: true, enumerable: false, writable: false });
  defineProperty(global, key, { value, writable: true, configurable: true, enumerable });
}

export function illegal() {
  throw new TypeError("Illegal constructor");
}

export function need(given, wanted, where) {
  if (given < wanted) {
    throw new TypeError(`${where}: ${wanted} argument${wanted === 1 ? "" : "s"} required, but only ${given} present`);
  }
}

export function isObject(value) {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

// Template literals convert as ToString does: a symbol throws a TypeError.
export function text(value) {
  return typeof value === "string" ? value : `${value}`;
}

export function usv(value) {
  return text(value).toWellFormed();
}

const isSpace = (code) => code === 32 || code === 9 || code === 10 || code === 13;

// Without white space (tab, line feed, carriage return, space; `formFeed`: that too) at both ends. A regular expression would look at
// each run of spaces inside from each of its places.
export function trimmed(s, formFeed = false) {
  let from = 0, to = s.length;
  const skip = (code) => isSpace(code) || (formFeed && code === 12);
  while (from < to && skip(s.charCodeAt(from))) from++;
  while (to > from && skip(s.charCodeAt(to - 1))) to--;
  return s.slice(from, to);
}

// What RFC 9110, 5.6.2 calls a token.
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const WIDE = /[^\0-\xff]/;

export function byteString(value, where) {
  const s = text(value);
  if (WIDE.test(s)) throw new TypeError(`${where}: a character above U+00FF cannot be sent as a byte`);
  return s;
}

// A dictionary argument: undefined and null are an empty one.
export function dictionary(value, where) {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw new TypeError(`${where}: the options must be an object`);
  return value;
}

export function oneOf(value, list, where) {
  const s = text(value);
  if (!list.includes(s)) throw new TypeError(`${where}: "${s}" is not one of ${list.map((x) => `"${x}"`).join(", ")}`);
  return s;
}

export function unsignedShort(value) {
  const n = +value;
  return Number.isFinite(n) ? Math.trunc(n) % 65536 + (Math.trunc(n) % 65536 < 0 ? 65536 : 0) : 0;
}

export function unsignedLong(value) {
  return +value >>> 0;
}

// long long and unsigned long long without [EnforceRange] or [Clamp]; numbers above 2^53 lose nothing that matters here.
export function longLong(value) {
  const n = Math.trunc(+value);
  return Number.isFinite(n) ? n + 0 : 0;
}

export function clampLongLong(value) {
  const n = +value;
  if (Number.isNaN(n)) return 0;
  const limited = Math.min(Math.max(n, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  const floor = Math.floor(limited), part = limited - floor;
  const rounded = part < 0.5 || (part === 0.5 && floor % 2 === 0) ? floor : floor + 1;
  return rounded + 0;
}

export function enforceRange(value, max, where) {
  const n = +value;
  if (!Number.isFinite(n) || Math.trunc(n) < 0 || Math.trunc(n) > max) throw new TypeError(`${where}: the number is out of range`);
  return Math.trunc(n) + 0;
}

// sequence<T>: whatever is iterable, in order.
export function sequence(value, convert, where) {
  if (!isObject(value)) throw new TypeError(`${where}: not a sequence`);
  const method = value[Symbol.iterator];
  if (typeof method !== "function") throw new TypeError(`${where}: not a sequence`);
  return sequenceBy(value, method, convert);
}

export function sequenceBy(value, method, convert) {
  const out = [];
  for (const item of { [Symbol.iterator]: () => method.call(value) }) out.push(convert(item));
  return out;
}

// For a proxy this is the same trap as reading the descriptor, and it makes no object.
const isEnumerable = Object.prototype.propertyIsEnumerable;

// record<K, V> as a flat list: own enumerable properties, in order; a symbol as a key throws.
export function record(value, convertKey, convertValue) {
  const out = [];
  for (const key of ownKeys(value)) {
    if (!isEnumerable.call(value, key)) continue;
    out.push(convertKey(key), convertValue(value[key]));
  }
  return out;
}

// A callback interface or function argument.
export function callable(value, where) {
  if (typeof value !== "function") throw new TypeError(`${where}: the callback is not a function`);
  return value;
}

// Makes a class a pair iterable (3.7.10): `list(object)` gives the pairs as they are at that moment, again for each step.
export function pairIterable(cls, name, list) {
  const proto = create(iteratorPrototype);
  const states = new WeakMap();
  const next = {
    next() {
      const state = states.get(this);
      if (!state) throw new TypeError(`next: not a ${name} iterator`);
      const pairs = list(state.target);
      if (state.index >= pairs.length) return { value: undefined, done: true };
      const pair = pairs[state.index++];
      return { value: state.kind === 2 ? [pair[0], pair[1]] : pair[state.kind], done: false };
    },
  }.next;
  defineProperty(proto, "next", { value: next, writable: true, enumerable: true, configurable: true });
  tag(proto, `${name} Iterator`);
  const start = (target, kind) => {
    list(target);
    const it = create(proto);
    states.set(it, { target, kind, index: 0 });
    return it;
  };
  const methods = {
    entries() { return start(this, 2); },
    keys() { return start(this, 0); },
    values() { return start(this, 1); },
    forEach(callback, thisArg) {
      let pairs = list(this);
      need(arguments.length, 1, `${name}.forEach`);
      callable(callback, `${name}.forEach`);
      for (let i = 0; i < pairs.length; i++) {
        callback.call(thisArg, pairs[i][1], pairs[i][0], this);
        pairs = list(this);
      }
    },
  };
  Object.defineProperty(methods.forEach, "length", { value: 1, configurable: true });
  for (const key in methods) defineProperty(cls.prototype, key, { value: methods[key], writable: true, enumerable: true, configurable: true });
  defineProperty(cls.prototype, Symbol.iterator, { value: methods.entries, writable: true, enumerable: false, configurable: true });
}

// Bytes of a BufferSource as a view of the same memory, or null when it is none.
export function bytesOf(value) {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (isBuffer(value)) return new Uint8Array(value);
  return null;
}

const bufferLength = getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength").get;
const sharedLength = typeof SharedArrayBuffer === "function" && getOwnPropertyDescriptor(SharedArrayBuffer.prototype, "byteLength").get;

export function isBuffer(value) {
  if (typeof value !== "object" || value === null) return false;
  try { bufferLength.call(value); return true; } catch { return isShared(value); }
}

export function isShared(value) {
  if (!sharedLength) return false;
  try { sharedLength.call(value); return true; } catch { return false; }
}
