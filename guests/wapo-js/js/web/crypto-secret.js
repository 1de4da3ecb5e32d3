// Algorithms with secret keys: AES in its modes, HMAC, HKDF and PBKDF2.
// Web Cryptography API, 27 to 31 and 33 to 34. Each operation gets a normalized algorithm and checked keys.
import native from "wapo:native";
import { checkUsages, failure, makeKey, onlyOf, partsOf } from "./crypto-key.js";
import { base64url, checkAlg, checkJwk, member } from "./crypto-jwk.js";

const { crypto } = native;
const NOTHING = new Uint8Array(0);

function unsupported(name, format) {
  throw failure("NotSupportedError", `${name} has no keys in the format "${format}"`);
}

// AES

const checkedLength = (length) => {
  if (length !== 128 && length !== 192 && length !== 256) {
    throw failure("OperationError", `A key of AES has 128, 192 or 256 bits, not ${length}`);
  }
  return length;
};

// What every mode has; `suffix` is that of its name in a JWK.
function aes(name, suffix, allowed, operations) {
  const make = (secret, length, extractable, usages) => makeKey(secret, "secret", extractable, { name, length }, onlyOf(usages, allowed));
  return {
    ...operations,
    generateKey({ length }, extractable, usages) {
      checkUsages(usages, allowed);
      checkedLength(length);
      return make(crypto.secretGenerate(length / 8), length, extractable, usages);
    },
    importKey(format, data, _, extractable, usages) {
      checkUsages(usages, allowed);
      if (format !== "raw" && format !== "jwk") unsupported(name, format);
      let bytes = data;
      if (format === "jwk") {
        checkJwk(data, { kty: "oct", use: "enc" }, extractable, usages);
        bytes = member(data, "k");
      }
      const length = bytes.byteLength * 8;
      if (length !== 128 && length !== 192 && length !== 256) {
        throw failure("DataError", `A key of AES has 128, 192 or 256 bits, not ${length}`);
      }
      if (format === "jwk") checkAlg(data, `A${length}${suffix}`);
      return make(crypto.secret(bytes), length, extractable, usages);
    },
    exportKey(format, key) {
      const { native: secret, algorithm } = partsOf(key);
      const bytes = () => crypto.secretBytes(secret);
      if (format === "raw") return bytes();
      if (format === "jwk") return { kty: "oct", k: base64url(bytes()), alg: `A${algorithm.length}${suffix}` };
      return unsupported(name, format);
    },
    keyLength: ({ length }) => checkedLength(length),
  };
}

const CIPHER = ["encrypt", "decrypt", "wrapKey", "unwrapKey"];

const ctr = ({ counter, length }, key, data) => crypto.aesCtr(partsOf(key).native, counter, length, data);
const cbc = (encrypt) => ({ iv }, key, data) => crypto.aesCbc(encrypt, partsOf(key).native, iv, data);
const gcm = (encrypt) => ({ iv, additionalData = NOTHING, tagLength = 128 }, key, data) => {
  if (![32, 64, 96, 104, 112, 120, 128].includes(tagLength)) {
    throw failure("OperationError", `AES-GCM has no tags of ${tagLength} bits`);
  }
  return crypto.aesGcm(encrypt, partsOf(key).native, iv, additionalData, tagLength / 8, data);
};
const kw = (wrap) => (_, key, data) => crypto.aesKw(wrap, partsOf(key).native, data);

// HMAC

const HMAC_NAMES = { "SHA-1": "HS1", "SHA-256": "HS256", "SHA-384": "HS384", "SHA-512": "HS512" };
const HMAC_USAGES = ["sign", "verify"];
const blockBits = (hash) => (hash.name === "SHA-1" || hash.name === "SHA-256" ? 512 : 1024);

function hmacKey(secret, hash, length, extractable, usages) {
  const algorithm = { name: "HMAC", length, hash: { name: hash.name } };
  return makeKey(secret, "secret", extractable, algorithm, onlyOf(usages, HMAC_USAGES));
}

// The first bits of a key; those after them are zero.
function cut(bytes, bits) {
  const out = new Uint8Array(bytes);
  if (bits % 8 !== 0) out[out.length - 1] &= 0xff << (8 - bits % 8);
  return out;
}

const hmac = {
  sign(_, key, data) {
    const { native: secret, algorithm } = partsOf(key);
    return crypto.hmacSign(algorithm.hash.name, secret, data);
  },
  verify(_, key, signature, data) {
    const { native: secret, algorithm } = partsOf(key);
    return crypto.hmacVerify(algorithm.hash.name, secret, signature, data);
  },
  generateKey({ hash, length = blockBits(hash) }, extractable, usages) {
    checkUsages(usages, HMAC_USAGES);
    if (length === 0) throw failure("OperationError", "A key of HMAC has one bit at least");
    const secret = crypto.secretGenerate(Math.ceil(length / 8));
    const key = length % 8 === 0 ? secret : crypto.secret(cut(crypto.secretBytes(secret), length));
    return hmacKey(key, hash, length, extractable, usages);
  },
  importKey(format, data, { hash, length }, extractable, usages) {
    checkUsages(usages, HMAC_USAGES);
    if (format !== "raw" && format !== "jwk") unsupported("HMAC", format);
    let bytes = data;
    if (format === "jwk") {
      checkJwk(data, { kty: "oct", use: "sig" }, extractable, usages);
      checkAlg(data, HMAC_NAMES[hash.name]);
      bytes = member(data, "k");
    }
    const bits = bytes.byteLength * 8;
    if (bits === 0) throw failure("DataError", "The key is empty");
    if (length !== undefined && (length > bits || length <= bits - 8)) {
      throw failure("DataError", `The key has ${bits} bits, which is not the length ${length}`);
    }
    const kept = length === undefined || length % 8 === 0 ? bytes : cut(bytes, length);
    return hmacKey(crypto.secret(kept), hash, length ?? bits, extractable, usages);
  },
  exportKey(format, key) {
    const { native: secret, algorithm } = partsOf(key);
    if (format === "raw") return crypto.secretBytes(secret);
    if (format === "jwk") return { kty: "oct", k: base64url(crypto.secretBytes(secret)), alg: HMAC_NAMES[algorithm.hash.name] };
    return unsupported("HMAC", format);
  },
  keyLength({ hash, length }) {
    if (length === 0) throw new TypeError("HMAC: the length is zero");
    return length ?? blockBits(hash);
  },
};

// HKDF and PBKDF2

const KDF_USAGES = ["deriveKey", "deriveBits"];

function kdf(name, deriveBits) {
  return {
    deriveBits(algorithm, key, length) {
      if (length === null || length % 8 !== 0) {
        throw failure("OperationError", `${name} derives whole bytes: the length must be a multiple of 8 bits`);
      }
      return deriveBits(algorithm, partsOf(key).native, length / 8);
    },
    importKey(format, data, _, extractable, usages) {
      if (format !== "raw") unsupported(name, format);
      checkUsages(usages, KDF_USAGES);
      if (extractable) throw failure("SyntaxError", `A key of ${name} cannot be extractable`);
      return makeKey(crypto.secret(data), "secret", false, { name }, onlyOf(usages, KDF_USAGES));
    },
    keyLength: () => null,
  };
}

export const secretAlgorithms = {
  __proto__: null,
  "AES-CTR": aes("AES-CTR", "CTR", CIPHER, { encrypt: ctr, decrypt: ctr }),
  "AES-CBC": aes("AES-CBC", "CBC", CIPHER, { encrypt: cbc(true), decrypt: cbc(false) }),
  "AES-GCM": aes("AES-GCM", "GCM", CIPHER, { encrypt: gcm(true), decrypt: gcm(false) }),
  "AES-KW": aes("AES-KW", "KW", ["wrapKey", "unwrapKey"], { wrapKey: kw(true), unwrapKey: kw(false) }),
  HMAC: hmac,
  HKDF: kdf("HKDF", ({ hash, salt, info }, secret, length) => crypto.hkdf(hash.name, secret, salt, info, length)),
  // A promise: long ones are computed in slices. It gives a key and not bytes, because resolving a promise looks at what it gets.
  PBKDF2: kdf("PBKDF2", async ({ hash, salt, iterations }, secret, length) => ({
    secret: await crypto.pbkdf2(hash.name, secret, salt, iterations, length),
  })),
};
