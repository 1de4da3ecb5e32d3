// Crypto: random values, and the way to SubtleCrypto.
// Web Cryptography API, 10.
import native from "wapo:native";
import { finish, illegal, INTERNAL, isShared, need } from "./idl.js";
import { failure } from "./crypto-key.js";
import { subtle } from "./crypto-subtle.js";

const kindOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;
const INTEGERS = /^(?:Ui|I)nt(?:8|16|32)Array$|^Uint8ClampedArray$|^Big(?:Ui|I)nt64Array$/;
const VALUES_BYTES_MAX = 65536;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export class Crypto {
  #brand;

  constructor(token) {
    if (token !== INTERNAL) illegal();
  }

  get subtle() { return (this.#brand, subtle); }

  getRandomValues(array) {
    this.#brand;
    need(arguments.length, 1, "Crypto.getRandomValues");
    if (!ArrayBuffer.isView(array) || isShared(array.buffer)) throw new TypeError("Crypto.getRandomValues: not a typed array");
    const kind = kindOf.call(array);
    if (kind === undefined || !INTEGERS.test(kind)) throw failure("TypeMismatchError", "Random values are for arrays of integers");
    const { byteLength } = array;
    if (byteLength > VALUES_BYTES_MAX) throw failure("QuotaExceededError", `${byteLength} bytes at once: ${VALUES_BYTES_MAX} is the most`);
    native.random.fill(new Uint8Array(array.buffer, array.byteOffset, byteLength));
    return array;
  }

  randomUUID() {
    this.#brand;
    const b = new Uint8Array(16);
    native.random.fill(b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    const hex = (from, to) => {
      let s = "";
      for (let i = from; i < to; i++) s += HEX[b[i]];
      return s;
    };
    return `${hex(0, 4)}-${hex(4, 6)}-${hex(6, 8)}-${hex(8, 10)}-${hex(10, 16)}`;
  }
}
Object.defineProperty(Crypto, "length", { value: 0, configurable: true });
finish(Crypto, "Crypto");

export const crypto = new Crypto(INTERNAL);
