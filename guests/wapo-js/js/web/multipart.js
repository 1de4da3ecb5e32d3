// multipart/form-data: writing and reading.
// HTML Living Standard, 4.10.21.8 (encoding algorithm); RFC 7578; Fetch 5.3 formData() for what is refused.
// The CRLF before a boundary belongs to the boundary; %22, %0D and %0A in names are decoded; a backslash is no escape.
import native from "wapo:native";
import { blobState, fileOf, isBlob } from "./blob.js";
import { concat } from "./streams.js";

// Parts of one body. Without a bound, a megabyte of empty parts would become a list of a hundred thousand files.
const PARTS_MAX = 10_000;

// Header of one part: as much as servers take for the header of a whole request.
const HEAD_BYTES_MAX = 16 * 1024;

const escapeName = (s) => s.replace(/\r\n|\r|\n/g, "\r\n").replace(/[\r\n"]/g, (c) => (c === '"' ? "%22" : c === "\r" ? "%0D" : "%0A"));
// A file's name keeps its line breaks as they are (HTML: only newlines of names and values are normalized).
const escapeFile = (s) => s.replace(/[\r\n"]/g, (c) => (c === '"' ? "%22" : c === "\r" ? "%0D" : "%0A"));
const unescapeName = (s) => s.replace(/%22|%0D|%0A/gi, (c) => (c === "%22" ? '"' : c[2] === "A" || c[2] === "a" ? "\n" : "\r"));

export function newBoundary() {
  const random = new Uint8Array(16);
  native.random.fill(random);
  let out = "----wapoform";
  for (const b of random) out += (b + 256).toString(16).slice(1);
  return out;
}

export function writeMultipart(entries, boundary) {
  const parts = [], encode = native.text.encode;
  for (const [name, value] of entries) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(name)}"`;
    if (isBlob(value)) {
      const { bytes, type } = blobState(value);
      parts.push(encode(`${head}; filename="${escapeFile(value.name)}"\r\nContent-Type: ${type || "application/octet-stream"}\r\n\r\n`), bytes, encode("\r\n"));
    } else parts.push(encode(`${head}\r\n\r\n${value.replace(/\r\n|\r|\n/g, "\r\n")}\r\n`));
  }
  parts.push(encode(`--${boundary}--\r\n`));
  return concat(parts);
}

function broken(what) {
  return new TypeError(`The body is not valid multipart/form-data: ${what}`);
}

function startsAt(bytes, at, wanted) {
  if (at + wanted.length > bytes.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

function find(bytes, wanted, from) {
  for (let at = bytes.indexOf(wanted[0], from); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (startsAt(bytes, at, wanted)) return at;
  }
  return -1;
}

const CRLF = new Uint8Array([13, 10]);
const BLANK = new Uint8Array([13, 10, 13, 10]);

export function readMultipart(bytes, boundary, add) {
  if (!boundary) throw broken("Content-Type has no boundary");
  const dashed = native.text.encode(`--${boundary}`), delimiter = concat([CRLF, dashed]);
  let at = startsAt(bytes, 0, dashed) ? 0 : find(bytes, delimiter, 0) + 2;
  if (at === 1) throw broken("its boundary does not occur");
  for (let count = 0; ; count++) {
    at += dashed.length;
    if (bytes[at] === 45 && bytes[at + 1] === 45) return;
    while (bytes[at] === 32 || bytes[at] === 9) at++;
    if (!startsAt(bytes, at, CRLF)) throw broken("a boundary is not followed by a line break");
    if (count === PARTS_MAX) throw broken(`it has more than ${PARTS_MAX} parts`);
    const headEnd = startsAt(bytes, at, BLANK) ? at : find(bytes, BLANK, at + 2);
    if (headEnd < 0) throw broken("the header of a part does not end");
    if (headEnd - at > HEAD_BYTES_MAX) throw broken(`the header of a part is longer than ${HEAD_BYTES_MAX} bytes`);
    const end = find(bytes, delimiter, headEnd + 2);
    if (end < 0) throw broken("the last part has no end");
    const start = headEnd + 4;
    onePart(native.text.decode(bytes.subarray(at + 2, Math.max(headEnd, at + 2)), false, true), bytes.subarray(start, Math.max(end, start)), add);
    at = end + 2;
  }
}

function onePart(head, content, add) {
  let disposition, type;
  for (const line of head.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) throw broken("a line of a part's header has no colon");
    const name = line.slice(0, colon).trim().toLowerCase(), value = line.slice(colon + 1).trim();
    if (name === "content-disposition") disposition = value;
    else if (name === "content-type") type = value;
  }
  if (disposition === undefined || !/^form-data\s*(;|$)/i.test(disposition)) throw broken("a part has no form-data disposition");
  const { name, filename } = parameters(disposition);
  if (name === undefined) throw broken("a part has no name");
  if (filename === undefined) return add(unescapeName(name), native.text.decode(content, false, false));
  add(unescapeName(name), fileOf(content.slice(), (type ?? "text/plain").toLowerCase(), unescapeName(filename)));
}

// name="…" and filename="…": the text up to the next quote; without quotes up to the next semicolon.
function parameters(disposition) {
  const out = {};
  const pattern = /;\s*(name|filename)\s*=\s*(?:"([^"]*)"|([^";\s][^;]*))/gi;
  for (const m of disposition.matchAll(pattern)) out[m[1].toLowerCase()] ??= m[2] ?? m[3].trim();
  return out;
}
