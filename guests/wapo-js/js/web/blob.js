// Blob and File.
// File API, 3 and 4. A blob's bytes are in memory; slices share them.
import native from "wapo:native";
import { INTERNAL, bytesOf, clampLongLong, dictionary, finish, isObject, longLong, need, oneOf, sequence, text, usv } from "./idl.js";
import { concat, streamOfBytes } from "./streams.js";

let get, is;

export class Blob {
  #bytes;
  #type;

  constructor(parts = undefined, options = undefined) {
    if (parts === INTERNAL) {
      this.#bytes = options.bytes;
      this.#type = options.type;
      return;
    }
    const raw = parts === undefined ? [] : sequence(parts, partOf, "Blob");
    const d = dictionary(options, "Blob");
    const endings = d.endings === undefined ? "transparent" : oneOf(d.endings, ["transparent", "native"], "Blob endings");
    this.#type = normalType(d.type === undefined ? "" : text(d.type));
    this.#bytes = concat(raw.map((p) => (typeof p === "string" ? native.text.encode(endings === "native" ? p.replace(/\r\n?/g, "\n") : p) : p)));
  }

  static {
    get = (b) => ({ bytes: b.#bytes, type: b.#type });
    is = (b) => isObject(b) && #bytes in b;
  }

  get size() { return this.#bytes.length; }
  get type() { return this.#type; }

  slice(start = undefined, end = undefined, type = undefined) {
    const size = this.#bytes.length;
    const at = (value, absent) => {
      if (value === undefined) return absent;
      const n = clampLongLong(value);
      return n < 0 ? Math.max(size + n, 0) : Math.min(n, size);
    };
    const from = at(start, 0), to = at(end, size);
    return new Blob(INTERNAL, {
      bytes: this.#bytes.subarray(from, Math.max(from, to)),
      type: type === undefined ? "" : normalType(text(type)),
    });
  }

  stream() { return streamOfBytes(this.#bytes); }

  text() { return settled(() => native.text.decode(this.#bytes, false, false)); }
  arrayBuffer() { return settled(() => this.#bytes.slice().buffer); }
  bytes() { return settled(() => this.#bytes.slice()); }
}
Object.defineProperty(Blob, "length", { value: 0, configurable: true });
finish(Blob, "Blob");

// Operations that return promises reject; they never throw (Web IDL 3.7.7).
function settled(f) {
  return new Promise((resolve) => resolve(f()));
}

// A part is copied now: what its owner does to the memory later must not change the blob.
function partOf(part) {
  if (is(part)) return get(part).bytes;
  const view = bytesOf(part);
  return view === null ? usv(part) : view.slice();
}

function normalType(type) {
  return /[^\x20-\x7e]/.test(type) ? "" : type.toLowerCase();
}

export { get as blobState, is as isBlob };

export function blobOf(bytes, type) {
  return new Blob(INTERNAL, { bytes, type });
}

export class File extends Blob {
  #name;
  #modified;

  constructor(bits, name, options = undefined) {
    if (bits === INTERNAL) {
      super(INTERNAL, options);
      this.#name = name;
      this.#modified = options.modified;
      return;
    }
    need(arguments.length, 2, "File");
    super(bits, options);
    this.#name = usv(name);
    const modified = dictionary(options, "File").lastModified;
    this.#modified = modified === undefined ? Date.now() : longLong(modified);
  }

  get name() { return this.#name; }
  get lastModified() { return this.#modified; }
}
finish(File, "File");

export function isFile(value) {
  return is(value) && value instanceof File;
}

export function fileOf(bytes, type, name, modified = Date.now()) {
  return new File(INTERNAL, name, { bytes, type, modified });
}
