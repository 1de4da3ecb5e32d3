// node:buffer: the class of the package `buffer`, with text codings by the engine's own code and with base64url, which it lacks.
import native from "wapo:native";
import feross from "npm:buffer";
import { codedError, wrongType } from "../node-parts/errors.js";

const { Buffer, SlowBuffer, INSPECT_MAX_BYTES } = feross;
// The longest ArrayBuffer and text of the engine.
export const kMaxLength = 2 ** 31 - 1;
export const kStringMaxLength = 2 ** 30 - 1;
export const constants = { MAX_LENGTH: kMaxLength, MAX_STRING_LENGTH: kStringMaxLength };
const { Blob, File, atob, btoa } = globalThis;
export { Blob, Buffer, File, INSPECT_MAX_BYTES, SlowBuffer, atob, btoa };

const { toBase64, toHex } = Uint8Array.prototype;
const asBuffer = (bytes) => Object.setPrototypeOf(bytes, Buffer.prototype);
const UTF8 = new Set([undefined, null, "", "utf8", "utf-8"]);
const nameOf = (encoding) => (typeof encoding === "string" ? encoding.toLowerCase() : encoding);
// The package decodes either alphabet of base64 under the one name.
const known = (encoding) => (nameOf(encoding) === "base64url" ? "base64" : encoding);

const { from, byteLength, isEncoding } = Buffer;
const { toString, write, fill, indexOf, lastIndexOf, includes } = Buffer.prototype;

function decoded(text, encoding) {
  const name = nameOf(encoding);
  if (UTF8.has(name)) return asBuffer(native.text.encode(text));
  if (name === "base64" || name === "base64url") {
    try {
      return asBuffer(Uint8Array.fromBase64(text, { alphabet: name }));
    } catch { /* What is no base64 is skipped. */ }
  }
  return from(text, known(encoding));
}

const statics = {
  from(value, encoding, length) {
    return typeof value === "string" ? decoded(value, encoding) : from(value, encoding, length);
  },
  byteLength(value, encoding) {
    return typeof value === "string" && UTF8.has(nameOf(encoding)) ? native.text.encode(value).length : byteLength(value, known(encoding));
  },
  isEncoding: (encoding) => isEncoding(known(encoding)),
  copyBytesFrom(view, offset = 0, length = undefined) {
    if (!ArrayBuffer.isView(view) || view instanceof DataView) throw wrongType("view", "an instance of TypedArray", view);
    const part = view.subarray(offset, length === undefined ? undefined : offset + length);
    return from(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  },
  of: (...items) => from(items),
};
for (const [key, value] of Object.entries(statics)) Object.defineProperty(Buffer, key, { value, writable: true, configurable: true });

const withEncoding = (method, at) => function (...args) {
  if (typeof args[at] === "string") args[at] = known(args[at]);
  return Reflect.apply(method, this, args);
};
const methods = {
  toString(encoding, start = 0, end = this.length) {
    const name = nameOf(encoding);
    const isUtf8 = UTF8.has(name), isBase64 = name === "base64" || name === "base64url";
    if (!isUtf8 && !isBase64 && name !== "hex") return Reflect.apply(toString, this, [encoding, start, end]);
    const last = Math.min(Math.max(Math.trunc(end) || 0, 0), this.length), first = Math.min(Math.max(Math.trunc(start) || 0, 0), last);
    const part = new Uint8Array(this.buffer, this.byteOffset + first, last - first);
    if (isUtf8) return native.text.decode(part, false, true);
    return isBase64 ? toBase64.call(part, { alphabet: name, omitPadding: name === "base64url" }) : toHex.call(part);
  },
  // write(text), write(text, encoding), write(text, offset, encoding), write(text, offset, length, encoding).
  write(text, ...rest) {
    const at = rest.findIndex((value) => typeof value === "string");
    if (at >= 0) rest[at] = known(rest[at]);
    return Reflect.apply(write, this, [text, ...rest]);
  },
  fill(value, ...rest) {
    const at = rest.findIndex((item) => typeof item === "string");
    if (at >= 0) rest[at] = known(rest[at]);
    return Reflect.apply(fill, this, [value, ...rest]);
  },
  indexOf: withEncoding(indexOf, 2),
  lastIndexOf: withEncoding(lastIndexOf, 2),
  includes: withEncoding(includes, 2),
};
for (const [key, value] of Object.entries(methods)) Object.defineProperty(Buffer.prototype, key, { value, writable: true, configurable: true });
Object.defineProperty(Buffer.prototype, "toLocaleString", { value: methods.toString, writable: true, configurable: true });

const bytesOf = (input) => {
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  throw wrongType("input", "an instance of ArrayBuffer, Buffer, or TypedArray", input);
};

export const isAscii = (input) => bytesOf(input).every((byte) => byte < 0x80);

export function isUtf8(input) {
  try {
    native.text.decode(bytesOf(input), true, true);
    return true;
  } catch {
    return false;
  }
}

const TRANSCODED = new Set(["utf8", "utf-8", "ucs2", "ucs-2", "utf16le", "utf-16le", "latin1", "binary", "ascii"]);

export function transcode(source, fromEncoding, toEncoding) {
  for (const encoding of [fromEncoding, toEncoding]) {
    if (!TRANSCODED.has(nameOf(encoding))) throw codedError(new Error(`Unable to transcode Buffer: no encoding ${encoding}`), "U_ILLEGAL_ARGUMENT_ERROR");
  }
  const text = from(bytesOf(source)).toString(fromEncoding);
  const max = { latin1: 0xff, binary: 0xff, ascii: 0x7f }[nameOf(toEncoding)];
  // What the encoding lacks becomes a question mark.
  return decoded(max === undefined ? text : [...text].map((c) => (c.codePointAt(0) > max ? "?" : c)).join(""), toEncoding);
}

export default {
  Blob, Buffer, File, INSPECT_MAX_BYTES, SlowBuffer, atob, btoa, constants, isAscii, isUtf8, kMaxLength, kStringMaxLength, transcode,
};
