// SCALE's codecs: each type becomes an object with encode(writer, value, path) and decode(reader).
// Types are compiled when they are needed first, so that they may contain themselves.
import native from "wapo:native";
import { DEPTH_MAX } from "./scale-types.js";

// Items without any bytes that one piece of data may have: their number is not bounded by the data.
const EMPTY_ITEMS_MAX = 65536;

export class Writer {
  bytes = new Uint8Array(64);
  view = new DataView(this.bytes.buffer);
  length = 0;
  depth = 0;

  room(n) {
    const at = this.length, end = at + n;
    if (end > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(end, this.bytes.length * 2));
      bytes.set(this.bytes);
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    this.length = end;
    return at;
  }
  // `room` may replace the buffer, so the place is asked for before the buffer is.
  add(bytes) {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
  }
  byte(value) {
    const at = this.room(1);
    this.bytes[at] = value;
  }
  result() { return this.bytes.slice(0, this.length); }
}

export class Reader {
  at = 0;
  depth = 0;
  empty = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  take(n) {
    const at = this.at;
    if (n > this.bytes.length - at) throw new RangeError(`SCALE: the data ends too early, ${n} bytes are expected at ${at}`);
    this.at = at + n;
    return at;
  }
}

function wrong(path, wanted, value) {
  return new TypeError(`SCALE: ${path || "the value"} must be ${wanted}, not ${value === null ? "null" : typeof value}`);
}

// Counts how deep the data is; every codec that contains others goes through it.
function nested(state, action) {
  if (++state.depth > DEPTH_MAX) throw new RangeError(`SCALE: more than ${DEPTH_MAX} values inside of each other`);
  const result = action();
  state.depth--;
  return result;
}

// Numbers

// BigInts are compared with BigInts only.
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

const small = (n) => (typeof n === "bigint" && n >= -SAFE_MAX && n <= SAFE_MAX ? Number(n) : n);

function limits(name) {
  const bits = Number(name.slice(1)), signed = name[0] === "i";
  const max = (1n << BigInt(signed ? bits - 1 : bits)) - 1n;
  return { bits, signed, max, min: signed ? -max - 1n : 0n };
}

// A Number or a BigInt of the type's range, as it was given.
function integer(value, { min, max }, path) {
  if (typeof value !== "bigint" && !(typeof value === "number" && Number.isInteger(value))) throw wrong(path, "an integer", value);
  const n = typeof value === "bigint" ? value : BigInt(value);
  if (n < min || n > max) throw new RangeError(`SCALE: ${path || "the value"} is ${value}, not from ${min} to ${max}`);
  return value;
}

function short(name) {
  const range = limits(name), { bits, signed } = range, size = bits / 8;
  const method = `${signed ? "Int" : "Uint"}${bits}`, get = `get${method}`, set = `set${method}`;
  return {
    integer: range,
    encode(w, value, path) {
      const n = Number(integer(value, range, path)), at = w.room(size);
      w.view[set](at, n, true);
    },
    decode(r) { return r.view[get](r.take(size), true); },
  };
}

function long(name) {
  const range = limits(name), words = range.bits / 64;
  return {
    integer: range,
    encode(w, value, path) {
      let n = BigInt(integer(value, range, path));
      const at = w.room(words * 8);
      for (let i = 0; i < words; i++, n >>= 64n) w.view.setBigUint64(at + i * 8, BigInt.asUintN(64, n), true);
    },
    decode(r) {
      const at = r.take(words * 8);
      const top = r.view[range.signed ? "getBigInt64" : "getBigUint64"](at + (words - 1) * 8, true);
      return words === 1 ? small(top) : (top << 64n) | r.view.getBigUint64(at, true);
    },
  };
}

const bool = {
  encode(w, value, path) {
    if (typeof value !== "boolean") throw wrong(path, "a boolean", value);
    w.byte(+value);
  },
  decode(r) {
    const byte = r.bytes[r.take(1)];
    if (byte > 1) throw new RangeError(`SCALE: ${byte} is not a boolean`);
    return byte === 1;
  },
};

const str = {
  encode(w, value, path) {
    if (typeof value !== "string" && !(value instanceof Uint8Array)) throw wrong(path, "text", value);
    const bytes = typeof value === "string" ? native.text.encode(value) : value;
    writeCompact(w, bytes.length);
    w.add(bytes);
  },
  decode(r) {
    const n = readLength(r), at = r.take(n);
    return native.text.decode(r.bytes.subarray(at, at + n), true, true);
  },
};

const makers = { bool: () => bool, str: () => str, u64: long, i64: long, u128: long, i128: long };
export const primitive = (name) => (makers[name] ?? short)(name);

// Compact numbers

function writeCompact(w, value) {
  if (value < 64) w.byte(Number(value) << 2);
  else if (value < 16384) {
    const at = w.room(2);
    w.view.setUint16(at, (Number(value) << 2) | 1, true);
  } else if (value < 1073741824) {
    const at = w.room(4);
    w.view.setUint32(at, Number(value) * 4 + 2, true);
  } else {
    const bytes = [];
    for (let n = BigInt(value); n > 0n; n >>= 8n) bytes.push(Number(n & 255n));
    w.add([((bytes.length - 4) << 2) | 3, ...bytes]);
  }
}

// A Number below 2^30, a BigInt from there on. Only the shortest form is right.
function readCompact(r) {
  const first = r.bytes[r.take(1)], mode = first & 3;
  let value, least;
  if (mode === 0) return first >> 2;
  if (mode === 1) {
    value = (first >> 2) | (r.bytes[r.take(1)] << 6);
    least = 64n;
  } else if (mode === 2) {
    r.at--;
    value = r.view.getUint32(r.take(4), true) >>> 2;
    least = 16384n;
  } else {
    const size = (first >> 2) + 4, at = r.take(size);
    value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(r.bytes[at + i]);
    least = size === 4 ? 1073741824n : 1n << BigInt(8 * (size - 1));
  }
  if (BigInt(value) < least) throw new RangeError("SCALE: a compact number is not in its shortest form");
  return value;
}

function readLength(r) {
  const n = readCompact(r);
  if (n > 0xffffffff) throw new RangeError(`SCALE: a length of ${n} is not possible`);
  return Number(n);
}

function unsigned(codec) {
  if (codec.integer === undefined || codec.integer.signed) throw new TypeError("SCALE: only unsigned numbers and () can be compact");
  return codec.integer;
}

export function compact(item) {
  return {
    encode(w, value, path) {
      const codec = item();
      if (!codec.isUnit) writeCompact(w, integer(value, unsigned(codec), path));
    },
    decode(r) {
      const codec = item();
      if (codec.isUnit) return codec.decode(r);
      const { max, bits } = unsigned(codec), value = readCompact(r);
      if (BigInt(value) > max) throw new RangeError(`SCALE: the compact number ${value} is larger than ${max}`);
      return bits === 128 ? BigInt(value) : small(value);
    },
  };
}

// Several of one type

const isByte = (codec) => codec.integer?.bits === 8 && !codec.integer.signed;

// Bytes of what stands for bytes, or null.
function givenBytes(value) {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") return null;
  if (!/^0x/.test(value)) return native.text.encode(value);
  return Uint8Array.fromHex(value.slice(2));
}

function encodeItems(w, codec, value, path) {
  for (let i = 0; i < value.length; i++) codec.encode(w, value[i], `${path}[${i}]`);
}

function decodeItems(r, codec, n) {
  const out = [];
  for (let i = 0; i < n; i++) {
    const before = r.at;
    out.push(codec.decode(r));
    if (r.at === before && ++r.empty > EMPTY_ITEMS_MAX) throw new RangeError(`SCALE: more than ${EMPTY_ITEMS_MAX} items without bytes`);
  }
  return out;
}

// `length` is null for a sequence, which has its own before the items.
export function several(item, length) {
  return {
    encode(w, value, path) {
      const codec = item(), list = (isByte(codec) ? givenBytes(value) : null) ?? value;
      if (!Array.isArray(list) && !ArrayBuffer.isView(list)) throw wrong(path, "an array", value);
      if (length === null) writeCompact(w, list.length);
      else if (list.length !== length) throw new RangeError(`SCALE: ${path || "the value"} has ${list.length} items, not ${length}`);
      if (list instanceof Uint8Array && isByte(codec)) w.add(list);
      else nested(w, () => encodeItems(w, codec, list, path));
    },
    decode(r) {
      const codec = item(), n = length ?? readLength(r);
      if (!isByte(codec)) return nested(r, () => decodeItems(r, codec, n));
      const at = r.take(n);
      return r.bytes.slice(at, at + n);
    },
  };
}

// Several of different types

export function tuple(items) {
  const isUnit = items.length === 0;
  return {
    isUnit,
    encode(w, value, path) {
      if (isUnit && (value === undefined || value === null)) return;
      if (!Array.isArray(value)) throw wrong(path, "an array", value);
      if (value.length !== items.length) throw new RangeError(`SCALE: ${path || "the value"} has ${value.length} items, not ${items.length}`);
      nested(w, () => items.forEach((item, i) => item().encode(w, value[i], `${path}[${i}]`)));
    },
    decode: (r) => nested(r, () => items.map((item) => item().decode(r))),
  };
}

export function struct(fields) {
  return {
    encode(w, value, path) {
      if (typeof value !== "object" || value === null) throw wrong(path, "an object", value);
      nested(w, () => {
        for (const { name, item } of fields) item().encode(w, value[name], path ? `${path}.${name}` : name);
      });
    },
    decode: (r) => nested(r, () => {
      const out = {};
      for (const { name, item } of fields) set(out, name, item().decode(r));
      return out;
    }),
  };
}

// A member of any name, also "__proto__".
function set(object, name, value) {
  if (name === "__proto__") Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
  else object[name] = value;
}

export function enumeration(variants) {
  const byName = new Map(variants.map((variant) => [variant.name, variant]));
  const byIndex = new Map(variants.map((variant) => [variant.index, variant]));
  return {
    encode(w, value, path) {
      const name = typeof value === "string" ? value : isRecord(value) ? Object.keys(value).find((key) => byName.has(key)) : undefined;
      const variant = byName.get(name);
      if (variant === undefined) throw wrong(path, `one of the variants ${[...byName.keys()].join(", ")}`, value);
      w.byte(variant.index);
      if (variant.item) nested(w, () => variant.item().encode(w, value[name], path ? `${path}.${name}` : name));
    },
    decode(r) {
      const index = r.bytes[r.take(1)], variant = byIndex.get(index);
      if (variant === undefined) throw new RangeError(`SCALE: ${index} is not the index of a variant`);
      const out = {};
      set(out, variant.name, variant.item ? nested(r, () => variant.item().decode(r)) : null);
      return out;
    },
  };
}

const isRecord = (value) => typeof value === "object" && value !== null;

// An enum of _None and _Some is null or the value itself.
export function option(none, some) {
  return {
    encode(w, value, path) {
      const is = value !== undefined && value !== null;
      w.byte(is ? some.index : none.index);
      if (is) nested(w, () => some.item().encode(w, value, path));
    },
    decode(r) {
      const index = r.bytes[r.take(1)];
      if (index === none.index) return null;
      if (index !== some.index) throw new RangeError(`SCALE: ${index} is not the index of a variant`);
      return nested(r, () => some.item().decode(r));
    },
  };
}
