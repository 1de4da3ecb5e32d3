// Bodies of requests and responses: what they are made of, how they are read, copied and given away.
// Fetch Living Standard, 2.2.4 (bodies), 5.2 (BodyInit), 5.3 (Body mixin).
//
// A body is { source, native, stream, used, shared }. `source` is text or bytes at hand, `native` a ByteSource of the engine;
// `stream` is made only when a program asks for it: a plain answer never becomes a stream.
import native from "wapo:native";
import { bytesOf, usv } from "./idl.js";
import { blobOf, blobState, isBlob } from "./blob.js";
import { FormData, formEntries, isFormData } from "./form-data.js";
import { parseMime, serializeMime } from "./mime.js";
import { newBoundary, readMultipart, writeMultipart } from "./multipart.js";
import { isDisturbed, isStream, locked, readAll, sourceOf, stop, streamOfBytes, streamOfSource } from "./streams.js";
import { isParams, parseForm, serializeForm, paramsList } from "./search-params.js";
import { listGet } from "./headers.js";

function bodyOf(source) {
  return { source, native: null, stream: null, used: false, shared: false };
}

export function bodyOfSource(byteSource) {
  return { source: null, native: byteSource, stream: null, used: false, shared: false };
}

// 5.2 "extract a body": gives the body; its Content-Type, or null, is in `extracted.type`.
export const extracted = { type: null };
export function extract(init) {
  if (typeof init === "string") {
    extracted.type = "text/plain;charset=UTF-8";
    return bodyOf(init.toWellFormed());
  }
  extracted.type = null;
  if (isStream(init)) {
    if (locked(init) || isDisturbed(init)) throw new TypeError("The stream was read from or is locked");
    return { source: null, native: null, stream: init, used: false, shared: false };
  }
  if (isBlob(init)) {
    const { bytes, type } = blobState(init);
    extracted.type = type || null;
    return { ...bodyOf(bytes), shared: true };
  }
  const view = bytesOf(init);
  if (view !== null) return bodyOf(view.slice());
  if (isFormData(init)) {
    const boundary = newBoundary();
    extracted.type = `multipart/form-data; boundary=${boundary}`;
    return bodyOf(writeMultipart(formEntries(init), boundary));
  }
  if (isParams(init)) {
    extracted.type = "application/x-www-form-urlencoded;charset=UTF-8";
    return bodyOf(serializeForm(paramsList(init)));
  }
  const text = usv(init);
  extracted.type = "text/plain;charset=UTF-8";
  return bodyOf(text);
}

function isUsed(body) {
  return body !== null && (body.used || (body.stream !== null && isDisturbed(body.stream)));
}

export function isUnusable(body) {
  return body !== null && (body.used || (body.stream !== null && (isDisturbed(body.stream) || locked(body.stream))));
}

function bytesAtHand(body) {
  return typeof body.source === "string" ? native.text.encode(body.source) : body.source;
}

function streamOf(body) {
  if (body.stream === null && body.used) {
    // Read by text() and the like, or moved to another object: there is no more to give.
    body.stream = streamOfBytes(new Uint8Array(0));
    stop(sourceOf(body.stream), undefined);
  }
  body.stream ??= body.native !== null ? streamOfSource(body.native) : streamOfBytes(bytesAtHand(body));
  return body.stream;
}

// The content of a body that is at hand, which is used from now on; null for others. Answers take this way most of the time.
export function takePlain(body) {
  if (body.stream !== null || body.native !== null) return null;
  body.used = true;
  return body.source;
}

// Takes the body's content for sending: { data } is text or bytes at hand, { source } gives bytes as they come; the other is null. The
// body is used from now on.
export function take(body) {
  if (isUnusable(body)) throw new TypeError("The body was read already");
  if (body.stream !== null) return { data: null, source: sourceOf(body.stream) };
  body.used = true;
  return { data: body.source, source: body.native };
}

// All bytes, once. Bytes that others share are copied.
function consume(body) {
  if (body === null) return new Uint8Array(0);
  if (body.stream !== null) return readAll(sourceOf(body.stream));
  body.used = true;
  if (body.native !== null) return readAll(body.native);
  const bytes = bytesAtHand(body);
  return body.shared ? bytes.slice() : bytes;
}

// 5.2 "clone a body". What is at hand is shared; a stream is teed.
export function cloneBody(body) {
  if (body === null) return null;
  if (body.stream === null && body.native === null) {
    body.shared = true;
    return { ...bodyOf(body.source), shared: true };
  }
  const [a, b] = streamOf(body).tee();
  body.stream = a;
  body.native = null;
  return { source: null, native: null, stream: b, used: false, shared: false };
}

// 5.4 and 5.5: a new Request over an old one takes its body away, and the old one counts as used.
export function moveBody(body) {
  if (body === null) return null;
  const moved = { ...body };
  body.used = true;
  if (body.stream !== null) {
    // The old stream stays with the old object, locked and disturbed; the new object reads through it.
    moved.stream = streamOfSource(sourceOf(body.stream));
    moved.native = null;
  }
  return moved;
}

const decode = (bytes) => native.text.decode(bytes, false, false);

function asText(body) {
  if (body !== null && body.stream === null && typeof body.source === "string") {
    body.used = true;
    const s = body.source;
    return s.charCodeAt(0) === 0xfeff ? s.slice(1) : s;
  }
  const bytes = consume(body);
  return bytes instanceof Uint8Array ? decode(bytes) : bytes.then(decode);
}

function asForm(bytes, type) {
  const mime = type === null ? null : parseMime(type);
  const form = new FormData();
  if (mime?.essence === "multipart/form-data") {
    readMultipart(bytes, mime.parameters.get("boundary"), (name, value) => formEntries(form).push([name, value]));
  } else if (mime?.essence === "application/x-www-form-urlencoded") {
    for (const pair of parseForm(native.text.decode(bytes, false, true))) formEntries(form).push(pair);
  } else throw new TypeError("The Content-Type of the body is neither multipart/form-data nor application/x-www-form-urlencoded");
  return form;
}

function mimeText(type) {
  const mime = type === null ? null : parseMime(type);
  return mime === null ? "" : serializeMime(mime);
}

// Puts the Body mixin on a class. `state(object)` throws a TypeError for objects of other classes; it gives { body } and `list(state)` the headers.
export function mixBody(cls, state, list) {
  const read = (object, then) => {
    try {
      const s = state(object), body = bodyFor(s);
      if (isUnusable(body)) throw new TypeError("The body was read already or its stream is locked");
      const result = then(body, s);
      return result instanceof Promise ? result : Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
  };
  const withBytes = (body, f) => {
    const bytes = consume(body);
    return bytes instanceof Uint8Array ? f(bytes) : bytes.then(f);
  };
  const members = {
    get body() {
      const body = bodyFor(state(this));
      return body === null ? null : streamOf(body);
    },
    get bodyUsed() { return isUsed(bodyFor(state(this))); },
    arrayBuffer() { return read(this, (b) => withBytes(b, (x) => (x.byteLength === x.buffer.byteLength ? x.buffer : x.slice().buffer))); },
    blob() { return read(this, (b, s) => withBytes(b, (x) => blobOf(x, mimeText(listGet(list(s), "content-type"))))); },
    bytes() { return read(this, (b) => withBytes(b, (x) => x)); },
    formData() { return read(this, (b, s) => withBytes(b, (x) => asForm(x, listGet(list(s), "content-type")))); },
    json() {
      return read(this, (b) => {
        const text = asText(b);
        return typeof text === "string" ? JSON.parse(text) : text.then((t) => JSON.parse(t));
      });
    },
    text() { return read(this, asText); },
  };
  Object.defineProperties(cls.prototype, Object.getOwnPropertyDescriptors(members));
}

// The body of a state; a server's request asks the engine for it at first use. GET and HEAD have none (5.4 refuses one), even if
// a client sends it: otherwise a client could make `new Request(address, request)` throw.
export function bodyFor(s) {
  if (s.body === undefined) {
    const method = s.method ??= s.exchange.method;
    const source = method === "GET" || method === "HEAD" ? null : s.exchange.takeBody();
    s.body = source ? bodyOfSource(source) : null;
  }
  return s.body;
}
