// Algorithms as programs give them (a name or an object) become records of known members.
// Web Cryptography API, 18.4 (normalizing an algorithm); Web IDL 3.2.17 (dictionaries).
import { bytesOf, enforceRange, isObject, isShared, text } from "./idl.js";
import { failure, isKey } from "./crypto-key.js";

// The bytes of a BufferSource, not copied.
export function input(value, where) {
  const bytes = bytesOf(value);
  if (bytes === null || isShared(bytes.buffer)) throw new TypeError(`${where}: neither an ArrayBuffer nor a view of one`);
  return bytes;
}

const bytes = (value, where) => new Uint8Array(input(value, where));
const octet = (value, where) => enforceRange(value, 255, where);
const short = (value, where) => enforceRange(value, 65535, where);
const long = (value, where) => enforceRange(value, 4294967295, where);
const hash = (value) => normalize(value, "digest");
const key = (value, where) => {
  if (!isKey(value)) throw new TypeError(`${where}: not a CryptoKey`);
  return value;
};
const integer = (value, where) => {
  if (!(value instanceof Uint8Array) || isShared(value.buffer)) throw new TypeError(`${where}: not a Uint8Array`);
  return new Uint8Array(value);
};

// Members of each dictionary in the order in which they are read; "?" marks those that may be missing.
const DICTIONARIES = {
  none: {},
  AesCtrParams: { counter: bytes, length: octet },
  AesCbcParams: { iv: bytes },
  AesGcmParams: { "additionalData?": bytes, iv: bytes, "tagLength?": octet },
  AesKeyGenParams: { length: short },
  HmacParams: { hash, "length?": long },
  HkdfParams: { hash, info: bytes, salt: bytes },
  Pbkdf2Params: { hash, iterations: long, salt: bytes },
  EcdsaParams: { hash },
  EcKeyParams: { namedCurve: text },
  AgreementParams: { public: key },
  RsaKeyGenParams: { modulusLength: long, publicExponent: integer, hash },
  RsaImportParams: { hash },
  RsaPssParams: { saltLength: long },
  RsaOaepParams: { "label?": bytes },
};

const AES = ["AES-CTR", "AES-CBC", "AES-GCM", "AES-KW"];
const RSA = ["RSASSA-PKCS1-v1_5", "RSA-PSS", "RSA-OAEP"];
const EC = ["ECDSA", "ECDH"];
const OKP = ["Ed25519", "X25519"];

const each = (names, dictionary) => Object.fromEntries(names.map((name) => [name, dictionary]));

const signing = { "RSASSA-PKCS1-v1_5": "none", "RSA-PSS": "RsaPssParams", ECDSA: "EcdsaParams", Ed25519: "none", HMAC: "none" };
const ciphers = { "RSA-OAEP": "RsaOaepParams", "AES-CTR": "AesCtrParams", "AES-CBC": "AesCbcParams", "AES-GCM": "AesGcmParams" };

// Which algorithms an operation knows, and what they need for it.
const OPERATIONS = {
  digest: each(["SHA-1", "SHA-256", "SHA-384", "SHA-512"], "none"),
  encrypt: ciphers,
  decrypt: ciphers,
  sign: signing,
  verify: signing,
  deriveBits: { ECDH: "AgreementParams", X25519: "AgreementParams", HKDF: "HkdfParams", PBKDF2: "Pbkdf2Params" },
  wrapKey: { "AES-KW": "none" },
  unwrapKey: { "AES-KW": "none" },
  generateKey: { ...each(RSA, "RsaKeyGenParams"), ...each(EC, "EcKeyParams"), ...each(OKP, "none"), ...each(AES, "AesKeyGenParams"), HMAC: "HmacParams" },
  importKey: { ...each(RSA, "RsaImportParams"), ...each(EC, "EcKeyParams"), ...each([...OKP, ...AES, "HKDF", "PBKDF2"], "none"), HMAC: "HmacParams" },
  "get key length": { ...each(AES, "AesKeyGenParams"), HMAC: "HmacParams", HKDF: "none", PBKDF2: "none" },
};

// By operation, then by the name in lower case: [name, members].
const KNOWN = new Map();
for (const operation in OPERATIONS) {
  const names = new Map();
  for (const name in OPERATIONS[operation]) {
    const members = Object.entries(DICTIONARIES[OPERATIONS[operation][name]]);
    names.set(name.toLowerCase(), [name, members.map(([key, convert]) => ({ key: key.replace("?", ""), convert, optional: key.endsWith("?") }))]);
  }
  KNOWN.set(operation, names);
}

// ASCII only: a name is compared without regard to case, and no other letter is one of a name.
const lower = (name) => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

export function normalize(algorithm, operation) {
  const named = isObject(algorithm) ? algorithm.name : algorithm;
  if (named === undefined && isObject(algorithm)) throw new TypeError("The algorithm has no name");
  const name = text(named);
  const known = KNOWN.get(operation).get(lower(name));
  if (known === undefined) throw failure("NotSupportedError", `"${name}" is not an algorithm for ${operation}`);
  const out = { name: known[0] };
  for (const { key, convert, optional } of known[1]) {
    const value = isObject(algorithm) ? algorithm[key] : undefined;
    if (value !== undefined) out[key] = convert(value, `${known[0]}: ${key}`);
    else if (!optional) throw new TypeError(`${known[0]}: ${key} is missing`);
    else out[key] = undefined;
  }
  return out;
}
