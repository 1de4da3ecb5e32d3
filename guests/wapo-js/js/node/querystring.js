// node:querystring. Node.js documentation, "Query string": what it says of parse, stringify, escape and unescape.
import native from "wapo:native";

// Pairs that `parse` reads when nobody says how many.
const PAIRS_MAX = 1000;

export function escape(value) {
  const text = typeof value === "string" ? value : typeof value === "object" ? String(value) : `${value}`;
  try {
    return encodeURIComponent(text);
  } catch {
    const error = new URIError("URI malformed");
    error.code = "ERR_INVALID_URI";
    throw error;
  }
}

// Percent signs that begin nothing stay; bytes that are no UTF-8 become U+FFFD.
export function unescapeBuffer(text) {
  const bytes = [];
  for (let at = 0; at < text.length; at++) {
    const code = text[at] === "%" && /^[0-9A-Fa-f]{2}$/.test(text.slice(at + 1, at + 3)) ? parseInt(text.slice(at + 1, at + 3), 16) : undefined;
    bytes.push(code ?? text.charCodeAt(at));
    if (code !== undefined) at += 2;
  }
  return native.modules.load("buffer").Buffer.from(bytes);
}

export function unescape(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return unescapeBuffer(text).toString();
  }
}

const primitive = (value) => (typeof value === "string" || typeof value === "bigint" || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value)) ? `${value}` : "");

export function stringify(object, separator = undefined, equals = undefined, options = undefined) {
  if (typeof object !== "object" || object === null) return "";
  // The package `url` asks as it would ask `qs`, with options in this place.
  const sep = typeof separator === "string" && separator !== "" ? separator : "&", eq = equals || "=";
  const write = options?.encodeURIComponent ?? exported.escape;
  const pairs = [];
  for (const key of Object.keys(object)) {
    const name = write(primitive(key)) + eq, value = object[key];
    if (Array.isArray(value)) for (const item of value) pairs.push(name + write(primitive(item)));
    else pairs.push(name + write(primitive(value)));
  }
  return pairs.join(sep);
}

export function parse(text, separator = undefined, equals = undefined, options = undefined) {
  const out = Object.create(null);
  if (typeof text !== "string" || text.length === 0) return out;
  const sep = separator || "&", eq = equals || "=";
  const read = options?.decodeURIComponent ?? exported.unescape;
  const decode = (part) => {
    const spaced = part.replaceAll("+", " ");
    try {
      return read(spaced);
    } catch {
      return exported.unescape(spaced);
    }
  };
  const max = typeof options?.maxKeys === "number" ? options.maxKeys : PAIRS_MAX;
  let parts = text.split(sep);
  if (max > 0) parts = parts.slice(0, max);
  for (const part of parts) {
    if (part === "") continue;
    const at = part.indexOf(eq);
    const key = decode(at < 0 ? part : part.slice(0, at)), value = at < 0 ? "" : decode(part.slice(at + eq.length));
    if (!(key in out)) out[key] = value;
    else if (Array.isArray(out[key])) out[key].push(value);
    else out[key] = [out[key], value];
  }
  return out;
}

export const encode = stringify;
export const decode = parse;
// Programs may replace `escape` and `unescape` of this object.
const exported = { decode, encode, escape, parse, stringify, unescape, unescapeBuffer };
export default exported;
