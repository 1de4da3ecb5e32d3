// Streams: the classes of web-streams-polyfill (MIT, bundled at build), and what the platform needs to know of them.
// Streams Living Standard. AbortController and DOMException are looked up on the global when a stream is made, not here.
export {
  ByteLengthQueuingStrategy, CountQueuingStrategy, ReadableByteStreamController, ReadableStream, ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest, ReadableStreamDefaultController, ReadableStreamDefaultReader, TransformStream,
  TransformStreamDefaultController, WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
} from "npm:web-streams-polyfill";
import { ReadableStream } from "npm:web-streams-polyfill";
import { makeIterable } from "./stream-iterator.js";

makeIterable(ReadableStream);

const getReader = ReadableStream.prototype.getReader;
const isLocked = Object.getOwnPropertyDescriptor(ReadableStream.prototype, "locked").get;

export function isStream(value) {
  return value instanceof ReadableStream;
}

// "disturbed" of the standard: read from or cancelled. The package keeps it under this name.
export function isDisturbed(stream) {
  return stream._disturbed === true;
}

export function locked(stream) {
  return isLocked.call(stream);
}

// Sources of the streams that streamOfSource made.
const sources = new WeakMap();

// The ByteSource behind a stream that nobody has read from, or null. The stream is locked and disturbed afterwards, as if it
// had been read: this is how a body goes from one place to another without a promise for each piece.
function takeSource(stream) {
  const source = sources.get(stream);
  if (source === undefined || locked(stream) || isDisturbed(stream)) return null;
  sources.delete(stream);
  getReader.call(stream);
  stream._disturbed = true;
  return source;
}

// A readable byte stream over a ByteSource. Nothing is read before a reader asks.
export function streamOfSource(source) {
  const stream = new ReadableStream({
    type: "bytes",
    async pull(controller) {
      let chunk;
      do chunk = await source.read(); while (chunk !== null && chunk.length === 0);
      if (chunk === null) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else controller.enqueue(chunk);
    },
    cancel(reason) { return source.cancel(reason); },
  }, { highWaterMark: 0 });
  sources.set(stream, source);
  return stream;
}

// A readable byte stream of bytes at hand, in pieces.
export function streamOfBytes(bytes, pieceMax = 65536) {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      if (at < bytes.length) {
        controller.enqueue(bytes.slice(at, at += pieceMax));
        if (at < bytes.length) return;
      }
      controller.close();
      controller.byobRequest?.respond(0);
    },
  }, { highWaterMark: 0 });
}

// Bytes of a stream, which is locked from now on, as a ByteSource gives them: the one behind it where nobody has read it yet. A chunk
// that is no Uint8Array is a TypeError.
export function sourceOf(stream) {
  const source = takeSource(stream);
  if (source !== null) return source;
  const reader = getReader.call(stream);
  return {
    async read() {
      const { value, done } = await reader.read();
      if (done) return null;
      if (!(value instanceof Uint8Array)) throw new TypeError("The stream gave something other than a Uint8Array");
      return value;
    },
    cancel(reason) { return reader.cancel(reason); },
  };
}

// Cancels a source that is not wanted any more; what that throws is of no interest.
export function stop(source, reason) {
  new Promise((resolve) => resolve(source.cancel(reason))).catch(() => {});
}

// All bytes of a source; one that fails is cancelled.
export async function readAll(source) {
  const parts = [];
  try {
    for (let chunk; (chunk = await source.read()) !== null;) parts.push(chunk);
  } catch (error) {
    stop(source, error);
    throw error;
  }
  return concat(parts);
}

export function concat(parts) {
  if (parts.length === 1) return parts[0];
  let length = 0;
  for (const p of parts) length += p.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}
