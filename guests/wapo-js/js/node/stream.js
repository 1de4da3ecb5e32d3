// node:stream, from the package `readable-stream`, with the bridges to streams of the web, which it lacks.
import stream from "npm:readable-stream/lib/ours/browser";
import { Buffer } from "./buffer.js";

export const {
  Duplex, PassThrough, Readable, Stream, Transform, Writable, addAbortSignal, compose, destroy, finished, getDefaultHighWaterMark, isDisturbed, isErrored,
  isReadable, pipeline, promises, setDefaultHighWaterMark,
} = stream;

// Reads no sooner than a reader asks for it.
Readable.fromWeb = (readable, options = undefined) => {
  const reader = readable.getReader();
  return new Readable({
    ...options,
    read() {
      reader.read().then(({ done, value }) => this.push(done ? null : this.readableObjectMode ? value : toChunk(value)), (error) => this.destroy(error));
    },
    destroy(error, callback) {
      reader.cancel(error ?? undefined).then(() => callback(error), () => callback(error));
    },
  });
};

Readable.toWeb = (readable) => {
  const iterator = readable[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(Buffer.isBuffer(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : value);
    },
    async cancel(reason) {
      readable.destroy(reason instanceof Error ? reason : undefined);
    },
  }, { highWaterMark: 0 });
};

Writable.fromWeb = (writable, options = undefined) => {
  const writer = writable.getWriter();
  const settle = (promise, callback) => { promise.then(() => callback(), callback); };
  return new Writable({
    ...options,
    write(chunk, _encoding, callback) { settle(writer.write(chunk), callback); },
    final(callback) { settle(writer.close(), callback); },
    destroy(error, callback) {
      // One that was closed has nothing to abort.
      settle(error === null ? Promise.resolve() : writer.abort(error).catch(() => {}), () => callback(error));
    },
  });
};

Writable.toWeb = (writable) => new WritableStream({
  start(controller) { writable.on("error", (error) => controller.error(error)); },
  write(chunk) {
    return new Promise((resolve, reject) => writable.write(chunk, (error) => (error ? reject(error) : resolve())));
  },
  close() {
    return new Promise((resolve, reject) => { finished(writable, (error) => (error ? reject(error) : resolve())); writable.end(); });
  },
  abort(reason) { writable.destroy(reason instanceof Error ? reason : new Error(String(reason))); },
});

Duplex.toWeb = (duplex) => ({ readable: Readable.toWeb(duplex), writable: Writable.toWeb(duplex) });
Duplex.fromWeb = ({ readable, writable }, options = undefined) => Duplex.from({ ...options, readable: Readable.fromWeb(readable), writable: Writable.fromWeb(writable) });

function toChunk(value) {
  return value instanceof Uint8Array || typeof value === "string" ? value : Buffer.from(value);
}

export default stream;
