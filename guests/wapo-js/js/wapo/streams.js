// Streams of Wapo 0.x over byte sources and sinks: callbacks instead of promises.
import { Opaque, bytes, callable, open, over } from "./handles.js";

export const READ = "stream to read";
export const WRITE = "stream to write";
const WRITER = "writer";

// Chunks that wait in a writer. With more, `streamWriteChunk` refuses, as it did.
const QUEUE_MAX = 128;

export function streamOpenRead(handle, callback) {
  callable(callback, "streamOpenRead");
  const source = Opaque.take(handle, READ);
  let isOver = false;
  const id = open(() => { isOver = true; source?.cancel(); });
  (async () => {
    try {
      for (;;) {
        const chunk = source && await source.read();
        if (isOver) return;
        if (!chunk) break;
        callback("data", chunk);
      }
      callback("end", null);
    } catch (error) {
      if (!isOver) callback("error", messageOf(error));
    } finally {
      over(id);
    }
  })();
  return id;
}

export function messageOf(error) {
  return String(error?.message ?? error);
}

// `sink` is a sink or a promise of one (a head that was not sent yet).
class Writer {
  constructor(sink) {
    this.sink = Promise.resolve(sink);
    this.sink.catch(() => {});
    this.queued = 0;
    this.tail = this.sink;
    this.isClosed = false;
  }
  write(chunk) {
    this.queued++;
    const done = this.tail.then(async () => (await this.sink).write(chunk)).finally(() => { this.queued--; });
    this.tail = done;
    done.catch(() => {});
    return done;
  }
  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.tail.then(async () => (await this.sink).close(), async () => (await this.sink).abort()).catch(() => {});
  }
}

export function streamOpenWrite(handle) {
  return new Opaque(WRITER, new Writer(Opaque.take(handle, WRITE)));
}

export function streamWriteChunk(writer, chunk, callback) {
  const to = Opaque.peek(writer, WRITER);
  const data = bytes(chunk, "streamWriteChunk");
  if (to.isClosed || to.queued >= QUEUE_MAX) {
    const text = to.isClosed ? "the stream is closed" : "the stream's queue is full";
    callback?.(false, text);
    throw new Error(text);
  }
  to.write(data).then(() => callback?.(true, null), (error) => callback?.(false, messageOf(error)));
}

export function streamClose(writer) {
  Opaque.peek(writer, WRITER).close();
}

// Copies to the end, with back-pressure.
export function streamBridge({ input, output }) {
  const source = Opaque.take(input, READ);
  const to = new Writer(Opaque.take(output, WRITE));
  let isOver = false;
  const id = open(() => { isOver = true; source?.cancel(); });
  (async () => {
    try {
      for (let chunk; !isOver && source && (chunk = await source.read());) await to.write(chunk);
      to.close();
    } catch {
      (await to.sink.catch(() => undefined))?.abort();
    } finally {
      over(id);
    }
  })();
  return id;
}
