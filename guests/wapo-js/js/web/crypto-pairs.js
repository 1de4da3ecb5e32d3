// Algorithms with pairs of keys: ECDSA and ECDH, Ed25519 and X25519, RSA.
// Web Cryptography API, 20 to 26; RFC 7518, 6; RFC 8037.
import native from "wapo:native";
import { checkUsages, failure, makeKey, onlyOf, partsOf } from "./crypto-key.js";
import { base64url, checkAlg, checkJwk, member } from "./crypto-jwk.js";

const { crypto } = native;

function unsupported(name, format) {
  throw failure("NotSupportedError", `${name} has no keys in the format "${format}"`);
}

// A pair of a new private key; `allowed` has the usages of either key.
function pair(secret, algorithm, extractable, usages, allowed) {
  return {
    privateKey: makeKey(secret, "private", extractable, algorithm, onlyOf(usages, allowed.private)),
    publicKey: makeKey(crypto.publicOf(secret), "public", true, algorithm, onlyOf(usages, allowed.public)),
  };
}

// Exports in the formats that are not JWK.
function exportBytes(name, format, key, formats) {
  if (!formats.includes(format)) unsupported(name, format);
  const { native: material, type } = partsOf(key);
  const wanted = format === "pkcs8" ? "private" : "public";
  if (type !== wanted) throw failure("InvalidAccessError", `A ${type} key cannot be exported as "${format}"`);
  return crypto[format](material);
}

const need = (key, type) => {
  const parts = partsOf(key);
  if (parts.type !== type) throw failure("InvalidAccessError", `This takes a ${type} key, not a ${parts.type} one`);
  return parts;
};

// What both sides agree on, cut to a number of bits.
function agree({ public: other }, key, length) {
  const mine = need(key, "private"), theirs = partsOf(other);
  if (theirs.type !== "public") throw failure("InvalidAccessError", "The other side's key must be a public one");
  if (theirs.algorithm.name !== mine.algorithm.name || theirs.algorithm.namedCurve !== mine.algorithm.namedCurve) {
    throw failure("InvalidAccessError", "The keys are of different kinds");
  }
  const secret = new Uint8Array(crypto.agree(mine.native, theirs.native));
  const bits = length ?? secret.length * 8;
  if (bits > secret.length * 8) throw failure("OperationError", `The keys agree on ${secret.length * 8} bits only, not ${bits}`);
  const out = new Uint8Array(Math.ceil(bits / 8));
  for (let i = 0; i < out.length; i++) out[i] = secret[i];
  if (bits % 8 !== 0) out[out.length - 1] &= 0xff << (8 - bits % 8);
  return out.buffer;
}

// Elliptic curves

const CURVES = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" };

function elliptic(name, use, allowed, operations) {
  return {
    ...operations,
    generateKey({ namedCurve }, extractable, usages) {
      checkUsages(usages, [...allowed.private, ...allowed.public]);
      if (!Object.hasOwn(CURVES, namedCurve)) throw failure("NotSupportedError", `"${namedCurve}" is not a curve of ${name}`);
      return pair(crypto.ecGenerate(namedCurve), { name, namedCurve }, extractable, usages, allowed);
    },
    importKey(format, data, { namedCurve }, extractable, usages) {
      if (!["raw", "spki", "pkcs8", "jwk"].includes(format)) unsupported(name, format);
      const type = format === "pkcs8" || (format === "jwk" && data.d !== undefined) ? "private" : "public";
      checkUsages(usages, allowed[type]);
      if (!Object.hasOwn(CURVES, namedCurve)) throw failure("DataError", `"${namedCurve}" is not a curve of ${name}`);
      const material = format === "jwk"
        ? ellipticOfJwk(data, name, use, namedCurve, extractable, usages)
        : crypto.ecImport(namedCurve, format, data);
      return makeKey(material, type, extractable, { name, namedCurve }, onlyOf(usages, allowed[type]));
    },
    exportKey(format, key) {
      if (format !== "jwk") return exportBytes(name, format, key, ["raw", "spki", "pkcs8"]);
      const { native: material, algorithm } = partsOf(key);
      const [x, y, d] = crypto.parts(material).map(base64url);
      const jwk = { kty: "EC", crv: algorithm.namedCurve, x, y };
      if (d !== undefined) jwk.d = d;
      return jwk;
    },
  };
}

function ellipticOfJwk(jwk, name, use, namedCurve, extractable, usages) {
  checkJwk(jwk, { kty: "EC", use }, extractable, usages);
  if (jwk.crv !== namedCurve) throw failure("DataError", `The JSON Web Key is of another curve than "${namedCurve}"`);
  if (name === "ECDSA") checkAlg(jwk, CURVES[namedCurve]);
  const secret = jwk.d === undefined ? null : member(jwk, "d");
  return crypto.ecFromParts(namedCurve, member(jwk, "x"), member(jwk, "y"), secret);
}

// Ed25519 and X25519

function okp(name, use, allowed, operations) {
  return {
    ...operations,
    generateKey(_, extractable, usages) {
      checkUsages(usages, [...allowed.private, ...allowed.public]);
      return pair(crypto.okpGenerate(name), { name }, extractable, usages, allowed);
    },
    importKey(format, data, _, extractable, usages) {
      if (!["raw", "spki", "pkcs8", "jwk"].includes(format)) unsupported(name, format);
      const type = format === "pkcs8" || (format === "jwk" && data.d !== undefined) ? "private" : "public";
      checkUsages(usages, allowed[type]);
      const material = format === "jwk" ? okpOfJwk(data, name, use, extractable, usages) : crypto.okpImport(name, format, data);
      return makeKey(material, type, extractable, { name }, onlyOf(usages, allowed[type]));
    },
    exportKey(format, key) {
      if (format !== "jwk") return exportBytes(name, format, key, ["raw", "spki", "pkcs8"]);
      const [x, d] = crypto.parts(partsOf(key).native).map(base64url);
      const jwk = { kty: "OKP", crv: name, x };
      if (name === "Ed25519") jwk.alg = name;
      if (d !== undefined) jwk.d = d;
      return jwk;
    },
  };
}

function okpOfJwk(jwk, name, use, extractable, usages) {
  checkJwk(jwk, { kty: "OKP", use }, extractable, usages);
  if (jwk.crv !== name) throw failure("DataError", `The JSON Web Key is of another curve than "${name}"`);
  if (name === "Ed25519") checkAlg(jwk, ["Ed25519", "EdDSA"]);
  const x = member(jwk, "x");
  return jwk.d === undefined ? crypto.okpImport(name, "raw", x) : crypto.okpFromParts(name, x, member(jwk, "d"));
}

// RSA

const RSA_NAMES = {
  "RSASSA-PKCS1-v1_5": (hash) => `RS${hash.slice(4)}`,
  "RSA-PSS": (hash) => `PS${hash.slice(4)}`,
  "RSA-OAEP": (hash) => (hash === "SHA-1" ? "RSA-OAEP" : `RSA-OAEP-${hash.slice(4)}`),
};

// Bits of a modulus and bytes of an exponent, from a key's numbers.
function rsaAlgorithm(name, hash, material) {
  const [n, e] = crypto.parts(material).map((part) => new Uint8Array(part));
  return { name, modulusLength: n.length * 8 - Math.clz32(n[0]) + 24, publicExponent: e, hash: { name: hash.name } };
}

function rsa(name, use, allowed, operations) {
  return {
    ...operations,
    async generateKey({ modulusLength, publicExponent, hash }, extractable, usages) {
      checkUsages(usages, [...allowed.private, ...allowed.public]);
      const exponent = publicExponent.reduce((sum, byte) => sum * 256 + byte, 0);
      if (exponent > Number.MAX_SAFE_INTEGER) throw failure("OperationError", "The public exponent is too large");
      const secret = await crypto.rsaGenerate(modulusLength, exponent);
      return pair(secret, rsaAlgorithm(name, hash, secret), extractable, usages, allowed);
    },
    importKey(format, data, { hash }, extractable, usages) {
      if (!["spki", "pkcs8", "jwk"].includes(format)) unsupported(name, format);
      const type = format === "pkcs8" || (format === "jwk" && data.d !== undefined) ? "private" : "public";
      checkUsages(usages, allowed[type]);
      const material = format === "jwk" ? rsaOfJwk(data, name, use, hash.name, extractable, usages) : crypto.rsaImport(format, data);
      return makeKey(material, type, extractable, rsaAlgorithm(name, hash, material), onlyOf(usages, allowed[type]));
    },
    exportKey(format, key) {
      if (format !== "jwk") return exportBytes(name, format, key, ["spki", "pkcs8"]);
      const { native: material, algorithm } = partsOf(key);
      const parts = crypto.parts(material);
      const jwk = { kty: "RSA", alg: RSA_NAMES[name](algorithm.hash.name) };
      for (let i = 0; i < parts.length; i++) jwk[RSA_MEMBERS[i]] = base64url(parts[i]);
      return jwk;
    },
  };
}

const RSA_MEMBERS = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

function rsaOfJwk(jwk, name, use, hash, extractable, usages) {
  checkJwk(jwk, { kty: "RSA", use }, extractable, usages);
  checkAlg(jwk, RSA_NAMES[name](hash));
  if (jwk.oth !== undefined) throw failure("NotSupportedError", "Keys of RSA with more than two primes are not supported");
  const given = RSA_MEMBERS.filter((key) => jwk[key] !== undefined);
  if (jwk.d === undefined && given.length > 2) throw failure("DataError", 'The JSON Web Key has no "d"');
  const wanted = jwk.d === undefined ? 2 : given.length === 3 ? 3 : 8;
  const parts = [];
  for (let i = 0; i < wanted; i++) parts[i] = member(jwk, RSA_MEMBERS[i]);
  return crypto.rsaFromParts(parts);
}

const NOTHING = new Uint8Array(0);

// `salt` gives the length of the salt, or null for signatures without one.
const rsaSignatures = (salt) => ({
  sign(algorithm, key, data) {
    const { native: material, algorithm: { hash } } = need(key, "private");
    return crypto.rsaSign(salt(algorithm), hash.name, material, data);
  },
  verify(algorithm, key, signature, data) {
    const { native: material, algorithm: { hash } } = need(key, "public");
    return crypto.rsaVerify(salt(algorithm), hash.name, material, signature, data);
  },
});

const SIGNATURE = { private: ["sign"], public: ["verify"] };
const AGREEMENT = { private: ["deriveKey", "deriveBits"], public: [] };

export const pairAlgorithms = {
  __proto__: null,
  ECDSA: elliptic("ECDSA", "sig", SIGNATURE, {
    sign: ({ hash }, key, data) => crypto.ecdsaSign(hash.name, need(key, "private").native, data),
    verify: ({ hash }, key, signature, data) => crypto.ecdsaVerify(hash.name, need(key, "public").native, signature, data),
  }),
  ECDH: elliptic("ECDH", "enc", AGREEMENT, { deriveBits: agree }),
  Ed25519: okp("Ed25519", "sig", SIGNATURE, {
    sign: (_, key, data) => crypto.edSign(need(key, "private").native, data),
    verify: (_, key, signature, data) => crypto.edVerify(need(key, "public").native, signature, data),
  }),
  X25519: okp("X25519", "enc", AGREEMENT, { deriveBits: agree }),
  "RSASSA-PKCS1-v1_5": rsa("RSASSA-PKCS1-v1_5", "sig", SIGNATURE, rsaSignatures(() => null)),
  "RSA-PSS": rsa("RSA-PSS", "sig", SIGNATURE, rsaSignatures(({ saltLength }) => saltLength)),
  "RSA-OAEP": rsa("RSA-OAEP", "enc", { private: ["decrypt", "unwrapKey"], public: ["encrypt", "wrapKey"] }, {
    encrypt({ label = NOTHING }, key, data) {
      const { native: material, algorithm: { hash } } = need(key, "public");
      return crypto.rsaEncrypt(hash.name, material, label, data);
    },
    decrypt({ label = NOTHING }, key, data) {
      const { native: material, algorithm: { hash } } = need(key, "private");
      return crypto.rsaDecrypt(hash.name, material, label, data);
    },
  }),
};
