// CryptoKey: what programs see of a key. Its bytes are in the engine, behind a private field.
// Web Cryptography API, 13.
import { finish, illegal, INTERNAL, isObject } from "./idl.js";

// Usages in the order of the standard's enumeration, which is the order in which keys show them.
export const USAGES = ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"];

export function failure(name, message) {
  return new DOMException(message, name);
}

let isKey, partsOf;

export class CryptoKey {
  // { native, type, extractable, algorithm, usages }: no program has a reference to any of them.
  #parts;
  #algorithm = null;
  #usages = null;

  constructor(token, parts) {
    if (token !== INTERNAL) illegal();
    this.#parts = parts;
  }

  static {
    isKey = (value) => isObject(value) && #parts in value;
    partsOf = (key) => key.#parts;
  }

  get type() { return this.#parts.type; }
  get extractable() { return this.#parts.extractable; }
  // The same object each time, as the standard asks. Changing it changes nothing.
  get algorithm() { return (this.#algorithm ??= shown(this.#parts.algorithm)); }
  get usages() { return (this.#usages ??= [...this.#parts.usages]); }
}
Object.defineProperty(CryptoKey, "length", { value: 0, configurable: true });
finish(CryptoKey, "CryptoKey");

export { isKey, partsOf };

function shown(algorithm) {
  const copy = { ...algorithm };
  if (copy.hash) copy.hash = { name: copy.hash.name };
  if (copy.publicExponent) copy.publicExponent = new Uint8Array(copy.publicExponent);
  return copy;
}

export function makeKey(native, type, extractable, algorithm, usages) {
  return new CryptoKey(INTERNAL, { native, type, extractable, algorithm, usages });
}

// Those of `usages` that are in `allowed`, in normal order.
export function onlyOf(usages, allowed) {
  return USAGES.filter((usage) => usages.includes(usage) && allowed.includes(usage));
}

export function checkUsages(usages, allowed) {
  const wrong = usages.find((usage) => !allowed.includes(usage));
  if (wrong !== undefined) throw failure("SyntaxError", `A key of this kind cannot be used for "${wrong}"`);
}
