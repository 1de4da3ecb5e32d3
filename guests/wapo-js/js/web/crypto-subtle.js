// SubtleCrypto: the operations, in the order of checks that the standard has. The engine computes.
// Web Cryptography API, 14.
import native from "wapo:native";
import { bytesOf, finish, illegal, INTERNAL, isObject, isShared, need, oneOf, sequence } from "./idl.js";
import { failure, isKey, partsOf, USAGES } from "./crypto-key.js";
import { jwkBytes, parseJwk, toJwk } from "./crypto-jwk.js";
import { input, normalize } from "./crypto-normalize.js";
import { pairAlgorithms } from "./crypto-pairs.js";
import { secretAlgorithms } from "./crypto-secret.js";

const { crypto } = native;
const ALGORITHMS = { __proto__: null, ...secretAlgorithms, ...pairAlgorithms };
const FORMATS = ["raw", "spki", "pkcs8", "jwk"];

const keyArgument = (value, where) => {
  if (!isKey(value)) throw new TypeError(`${where}: not a CryptoKey`);
  return value;
};
const usagesArgument = (value, where) => sequence(value, (usage) => oneOf(usage, USAGES, where), where);

// What every use of a key checks: the algorithm is the key's, and the key is meant for it.
function checkUse(algorithm, key, usage) {
  const { algorithm: { name }, usages } = partsOf(key);
  if (algorithm.name !== name) throw failure("InvalidAccessError", `The key is one of ${name}, not of ${algorithm.name}`);
  if (!usages.includes(usage)) throw failure("InvalidAccessError", `The key must not be used for "${usage}"`);
}

// PBKDF2 gives a promise of a secret; all others give bytes at once.
async function derive(algorithm, key, length) {
  const result = ALGORITHMS[algorithm.name].deriveBits(algorithm, key, length);
  return algorithm.name === "PBKDF2" ? result : { bytes: result };
}

const bytesOfDerived = ({ secret, bytes }) => (secret === undefined ? bytes : crypto.secretBytes(secret));

function checkNotUseless(key, usages) {
  if (partsOf(key).type !== "public" && usages.length === 0) {
    throw failure("SyntaxError", "The key would be of no use: no usages are given");
  }
  return key;
}

function importWith(algorithm, format, data, extractable, usages) {
  const key = ALGORITHMS[algorithm.name].importKey(format, data, algorithm, extractable, usages);
  return checkNotUseless(key, usages);
}

function checkExportable(key) {
  const { algorithm: { name }, extractable } = partsOf(key);
  if (ALGORITHMS[name].exportKey === undefined) throw failure("NotSupportedError", `Keys of ${name} cannot be exported`);
  if (!extractable) throw failure("InvalidAccessError", "The key is not extractable");
}

function exportWith(format, key) {
  const { algorithm: { name }, extractable, usages } = partsOf(key);
  const exported = ALGORITHMS[name].exportKey(format, key);
  if (format === "jwk") {
    exported.key_ops = [...usages];
    exported.ext = extractable;
  }
  return exported;
}

// Wrapping has operations of its own for some algorithms; others encrypt.
function normalizeWrapping(algorithm, own, instead) {
  try {
    return [normalize(algorithm, own), own];
  } catch {
    return [normalize(algorithm, instead), instead];
  }
}

export class SubtleCrypto {
  #brand;

  constructor(token) {
    if (token !== INTERNAL) illegal();
  }

  #called(given, wanted, name) {
    need(given, wanted, `SubtleCrypto.${name}`);
  }

  async digest(algorithm, data) {
    this.#called(arguments.length, 2, "digest");
    const bytes = input(data, "SubtleCrypto.digest");
    return crypto.digest(normalize(algorithm, "digest").name, bytes);
  }

  async encrypt(algorithm, key, data) {
    this.#called(arguments.length, 3, "encrypt");
    return cipher("encrypt", algorithm, key, data);
  }

  async decrypt(algorithm, key, data) {
    this.#called(arguments.length, 3, "decrypt");
    return cipher("decrypt", algorithm, key, data);
  }

  async sign(algorithm, key, data) {
    this.#called(arguments.length, 3, "sign");
    return cipher("sign", algorithm, key, data);
  }

  async verify(algorithm, key, signature, data) {
    this.#called(arguments.length, 4, "verify");
    keyArgument(key, "SubtleCrypto.verify");
    const sign = input(signature, "SubtleCrypto.verify"), bytes = input(data, "SubtleCrypto.verify");
    const normal = normalize(algorithm, "verify");
    checkUse(normal, key, "verify");
    return ALGORITHMS[normal.name].verify(normal, key, sign, bytes);
  }

  async generateKey(algorithm, extractable, keyUsages) {
    this.#called(arguments.length, 3, "generateKey");
    const usages = usagesArgument(keyUsages, "SubtleCrypto.generateKey");
    const normal = normalize(algorithm, "generateKey");
    const made = await ALGORITHMS[normal.name].generateKey(normal, !!extractable, usages);
    const secret = isKey(made) ? made : made.privateKey;
    checkNotUseless(secret, partsOf(secret).usages);
    return made;
  }

  async deriveKey(algorithm, baseKey, derivedKeyType, extractable, keyUsages) {
    this.#called(arguments.length, 5, "deriveKey");
    keyArgument(baseKey, "SubtleCrypto.deriveKey");
    const usages = usagesArgument(keyUsages, "SubtleCrypto.deriveKey");
    const normal = normalize(algorithm, "deriveBits");
    const type = normalize(derivedKeyType, "importKey");
    const sized = normalize(derivedKeyType, "get key length");
    checkUse(normal, baseKey, "deriveKey");
    const length = ALGORITHMS[sized.name].keyLength(sized);
    const derived = await derive(normal, baseKey, length);
    return importWith(type, "raw", bytesOfInput(bytesOfDerived(derived)), !!extractable, usages);
  }

  async deriveBits(algorithm, baseKey, length = null) {
    this.#called(arguments.length, 2, "deriveBits");
    keyArgument(baseKey, "SubtleCrypto.deriveBits");
    const bits = length === null ? null : +length >>> 0;
    const normal = normalize(algorithm, "deriveBits");
    checkUse(normal, baseKey, "deriveBits");
    return bytesOfDerived(await derive(normal, baseKey, bits));
  }

  async importKey(format, keyData, algorithm, extractable, keyUsages) {
    this.#called(arguments.length, 5, "importKey");
    const where = "SubtleCrypto.importKey", form = oneOf(format, FORMATS, where);
    if (!isObject(keyData)) throw new TypeError(`${where}: the key is no object`);
    const bytes = bytesOf(keyData);
    const jwk = bytes === null ? toJwk(keyData) : null;
    const usages = usagesArgument(keyUsages, where);
    if ((form === "jwk") !== (jwk !== null) || (bytes !== null && isShared(bytes.buffer))) {
      throw new TypeError(`${where}: a key in the format "${form}" is ${form === "jwk" ? "an object" : "an ArrayBuffer or a view of one"}`);
    }
    return importWith(normalize(algorithm, "importKey"), form, jwk ?? bytes, !!extractable, usages);
  }

  async exportKey(format, key) {
    this.#called(arguments.length, 2, "exportKey");
    const form = oneOf(format, FORMATS, "SubtleCrypto.exportKey");
    checkExportable(keyArgument(key, "SubtleCrypto.exportKey"));
    return exportWith(form, key);
  }

  async wrapKey(format, key, wrappingKey, wrapAlgorithm) {
    this.#called(arguments.length, 4, "wrapKey");
    const where = "SubtleCrypto.wrapKey", form = oneOf(format, FORMATS, where);
    keyArgument(key, where);
    keyArgument(wrappingKey, where);
    const [normal, operation] = normalizeWrapping(wrapAlgorithm, "wrapKey", "encrypt");
    checkUse(normal, wrappingKey, "wrapKey");
    checkExportable(key);
    const exported = exportWith(form, key);
    const bytes = form === "jwk" ? jwkBytes(exported) : bytesOfInput(exported);
    return ALGORITHMS[normal.name][operation](normal, wrappingKey, bytes);
  }

  async unwrapKey(format, wrappedKey, unwrappingKey, unwrapAlgorithm, unwrappedKeyAlgorithm, extractable, keyUsages) {
    this.#called(arguments.length, 7, "unwrapKey");
    const where = "SubtleCrypto.unwrapKey", form = oneOf(format, FORMATS, where);
    const wrapped = input(wrappedKey, where);
    keyArgument(unwrappingKey, where);
    const usages = usagesArgument(keyUsages, where);
    const [normal, operation] = normalizeWrapping(unwrapAlgorithm, "unwrapKey", "decrypt");
    const type = normalize(unwrappedKeyAlgorithm, "importKey");
    checkUse(normal, unwrappingKey, "unwrapKey");
    const bytes = bytesOfInput(ALGORITHMS[normal.name][operation](normal, unwrappingKey, wrapped));
    return importWith(type, form, form === "jwk" ? parseJwk(bytes) : bytes, !!extractable, usages);
  }
}
Object.defineProperty(SubtleCrypto.prototype.deriveBits, "length", { value: 2, configurable: true });
Object.defineProperty(SubtleCrypto, "length", { value: 0, configurable: true });
finish(SubtleCrypto, "SubtleCrypto");

const View = Uint8Array;
const bytesOfInput = (buffer) => new View(buffer);

function cipher(operation, algorithm, key, data) {
  const where = `SubtleCrypto.${operation}`;
  keyArgument(key, where);
  const bytes = input(data, where);
  const normal = normalize(algorithm, operation);
  checkUse(normal, key, operation);
  return ALGORITHMS[normal.name][operation](normal, key, bytes);
}

export const subtle = new SubtleCrypto(INTERNAL);
