// TextEncoder, TextDecoder and their streams.
// Encoding Living Standard, 7. The engine encodes and decodes; UTF-8 in one piece takes no decoder object.
import native from "wapo:native";
import { bytesOf, dictionary, finish, text, trimmed } from "./idl.js";
import { TransformStream } from "./streams.js";

export class TextEncoder {
  get encoding() {
    brand(this, TextEncoder);
    return "utf-8";
  }
  encode(input = "") {
    brand(this, TextEncoder);
    return native.text.encode(text(input));
  }
  encodeInto(source, destination) {
    brand(this, TextEncoder);
    if (!(destination instanceof Uint8Array)) throw new TypeError("TextEncoder.encodeInto: the destination is not a Uint8Array");
    const [read, written] = native.text.encodeInto(text(source), destination);
    return { read, written };
  }
}
finish(TextEncoder, "TextEncoder");

function brand(object, cls) {
  if (!(object instanceof cls)) throw new TypeError(`not a ${cls.name}`);
}

function encodingOf(label, where) {
  const given = trimmed(text(label), true);
  const name = given === "utf-8" ? given : native.text.label(given);
  if (name === null) throw new RangeError(`${where}: "${given}" is not the label of an encoding`);
  return name;
}

const NOTHING = new Uint8Array(0);

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  // Made for other encodings and for text in pieces.
  #native = null;

  constructor(label = "utf-8", options = undefined) {
    this.#encoding = encodingOf(label, "TextDecoder");
    const d = dictionary(options, "TextDecoder");
    this.#fatal = !!d.fatal;
    this.#ignoreBOM = !!d.ignoreBOM;
  }

  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }

  decode(input = undefined, options = undefined) {
    const stream = !!dictionary(options, "TextDecoder.decode").stream;
    const bytes = input === undefined ? NOTHING : bytesOf(input);
    if (bytes === null) throw new TypeError("TextDecoder.decode: the input is neither an ArrayBuffer nor a view of one");
    if (this.#native === null) {
      if (!stream && this.#encoding === "utf-8") return native.text.decode(bytes, this.#fatal, this.#ignoreBOM);
      this.#native = native.text.decoder(this.#encoding, this.#fatal, this.#ignoreBOM);
    }
    return this.#native.decode(bytes, stream);
  }
}
Object.defineProperty(TextDecoder, "length", { value: 0, configurable: true });
Object.defineProperty(TextDecoder.prototype.decode, "length", { value: 0, configurable: true });
finish(TextDecoder, "TextDecoder");

export class TextDecoderStream {
  #decoder;
  #pair;

  constructor(label = "utf-8", options = undefined) {
    const decoder = this.#decoder = new TextDecoder(label, options);
    this.#pair = new TransformStream({
      transform(chunk, controller) {
        const s = decoder.decode(chunkOf(chunk), { stream: true });
        if (s !== "") controller.enqueue(s);
      },
      flush(controller) {
        const s = decoder.decode();
        if (s !== "") controller.enqueue(s);
      },
    });
  }

  get encoding() { return this.#decoder.encoding; }
  get fatal() { return this.#decoder.fatal; }
  get ignoreBOM() { return this.#decoder.ignoreBOM; }
  get readable() { return this.#pair.readable; }
  get writable() { return this.#pair.writable; }
}
Object.defineProperty(TextDecoderStream, "length", { value: 0, configurable: true });
finish(TextDecoderStream, "TextDecoderStream");

function chunkOf(chunk) {
  const bytes = bytesOf(chunk);
  if (bytes === null) throw new TypeError("The chunk is neither an ArrayBuffer nor a view of one");
  return bytes;
}

// A high surrogate at the end of a chunk waits for the next one (7.6, convert code unit to scalar value).
export class TextEncoderStream {
  #pair;

  constructor() {
    let high = "";
    this.#pair = new TransformStream({
      transform(chunk, controller) {
        let s = high + text(chunk);
        const last = s.charCodeAt(s.length - 1);
        high = last >= 0xd800 && last <= 0xdbff ? s[s.length - 1] : "";
        if (high !== "") s = s.slice(0, -1);
        if (s !== "") controller.enqueue(native.text.encode(s));
      },
      flush(controller) {
        if (high !== "") controller.enqueue(new Uint8Array([0xef, 0xbf, 0xbd]));
      },
    });
  }

  get encoding() { return (this.#pair, "utf-8"); }
  get readable() { return this.#pair.readable; }
  get writable() { return this.#pair.writable; }
}
finish(TextEncoderStream, "TextEncoderStream");
