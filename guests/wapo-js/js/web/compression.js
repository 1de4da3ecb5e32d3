// CompressionStream and DecompressionStream, and the unpacking of answers of fetch().
// Compression Standard, 5 and 6; RFC 9110 8.4.1 (content codings). The engine compresses; output comes in bounded pieces.
import native from "wapo:native";
import { bytesOf, finish, isShared, need, oneOf } from "./idl.js";
import { TransformStream } from "./streams.js";

const FORMATS = ["deflate", "deflate-raw", "gzip"];

function pairOver(codec) {
  const drain = (controller) => {
    for (let out; (out = codec.pull()) !== null;) if (out.length > 0) controller.enqueue(out);
  };
  return new TransformStream({
    transform(chunk, controller) {
      const bytes = bytesOf(chunk);
      if (bytes === null || isShared(bytes.buffer)) throw new TypeError("The chunk is neither an ArrayBuffer nor a view of one");
      codec.push(bytes);
      drain(controller);
    },
    flush(controller) {
      codec.finish();
      drain(controller);
    },
  });
}

export class CompressionStream {
  #pair;
  constructor(format) {
    need(arguments.length, 1, "CompressionStream");
    this.#pair = pairOver(native.compress.encoder(oneOf(format, FORMATS, "CompressionStream")));
  }
  get readable() { return this.#pair.readable; }
  get writable() { return this.#pair.writable; }
}
finish(CompressionStream, "CompressionStream");

export class DecompressionStream {
  #pair;
  constructor(format) {
    need(arguments.length, 1, "DecompressionStream");
    this.#pair = pairOver(native.compress.decoder(oneOf(format, FORMATS, "DecompressionStream")));
  }
  get readable() { return this.#pair.readable; }
  get writable() { return this.#pair.writable; }
}
finish(DecompressionStream, "DecompressionStream");

// What fetch() can undo, and asks servers for.
export const ACCEPT_ENCODING = "gzip, deflate";
const CODINGS = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };

// A ByteSource that gives the content of `source`, or null when one of the codings is unknown (then the body stays as it is).
export function decodedSource(source, contentEncoding) {
  const codings = contentEncoding.split(",").map((c) => c.trim().toLowerCase()).filter((c) => c !== "" && c !== "identity");
  if (codings.length > CODINGS_MAX || codings.some((c) => !Object.hasOwn(CODINGS, c))) return null;
  return codings.reduceRight((inner, coding) => unpacked(inner, native.compress.decoder(CODINGS[coding])), source);
}

// Codings on top of each other. A server that names more wants to make work, not to save bytes.
const CODINGS_MAX = 4;

function unpacked(source, codec) {
  let ended = false, begun = false;
  return {
    async read() {
      for (;;) {
        const out = begun ? codec.pull() : null;
        if (out !== null) return out;
        if (ended) return null;
        const chunk = await source.read();
        if (chunk !== null) {
          begun = true;
          codec.push(chunk);
        } else {
          ended = true;
          if (begun) codec.finish();
        }
      }
    },
    cancel(reason) { return source.cancel(reason); },
  };
}
