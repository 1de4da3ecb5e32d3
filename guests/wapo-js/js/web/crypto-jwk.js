// JSON Web Keys: reading the dictionary, checks that all algorithms share, base64url.
// Web Cryptography API, 15 (JsonWebKey); RFC 7517, RFC 7518; RFC 4648, 5.
import native from "wapo:native";
import { isObject, sequence, text } from "./idl.js";
import { failure } from "./crypto-key.js";

// Taken before any program runs: a key that may not leave the engine passes through some of these.
const { parse, stringify } = JSON;
const { fromBase64 } = Uint8Array;
const { toBase64 } = Uint8Array.prototype;
const { call } = Function.prototype;
const base64 = call.bind(toBase64);
const unbase64 = fromBase64.bind(Uint8Array);
const test = call.bind(RegExp.prototype.test);
const View = Uint8Array;

const MEMBERS = ["alg", "crv", "d", "dp", "dq", "e", "ext", "k", "key_ops", "kty", "n", "oth", "p", "q", "qi", "use", "x", "y"];

// The JsonWebKey dictionary of an object.
export function toJwk(value) {
  const jwk = { __proto__: null };
  for (let i = 0; i < MEMBERS.length; i++) {
    const key = MEMBERS[i], member = value[key];
    if (member === undefined) continue;
    if (key === "ext") jwk.ext = !!member;
    else if (key === "key_ops") jwk.key_ops = sequence(member, text, "key_ops");
    else if (key === "oth") jwk.oth = sequence(member, (other) => other, "oth");
    else jwk[key] = text(member);
  }
  return jwk;
}

// The bytes of an unwrapped key as a JWK.
export function parseJwk(bytes) {
  let value;
  try {
    value = parse(native.text.decode(bytes, true, false));
  } catch {
    throw failure("DataError", "What was unwrapped is not a JSON Web Key");
  }
  if (!isObject(value) || value.kty === undefined) throw failure("DataError", "What was unwrapped is not a JSON Web Key");
  return toJwk(value);
}

export function jwkBytes(jwk) {
  return native.text.encode(stringify(jwk));
}

function wrong(message) {
  throw failure("DataError", `The JSON Web Key ${message}`);
}

// What every import checks: kty, use (when there are usages), key_ops, ext.
export function checkJwk(jwk, { kty, use }, extractable, usages) {
  if (jwk.kty !== kty) wrong(`has kty ${stringify(jwk.kty)}, not "${kty}"`);
  if (usages.length > 0 && jwk.use !== undefined && jwk.use !== use) wrong(`has use "${jwk.use}", not "${use}"`);
  const ops = jwk.key_ops;
  if (ops !== undefined) {
    if (new Set(ops).size !== ops.length) wrong("names an operation twice in key_ops");
    const missing = usages.find((usage) => !ops.includes(usage));
    if (missing !== undefined) wrong(`does not have "${missing}" in key_ops`);
  }
  if (jwk.ext === false && extractable) wrong("is not extractable");
}

// `wanted` is one name, or a list of them.
export function checkAlg(jwk, wanted) {
  const names = typeof wanted === "string" ? [wanted] : wanted;
  if (jwk.alg !== undefined && !names.includes(jwk.alg)) wrong(`has alg "${jwk.alg}", not "${names[0]}"`);
}

const ALPHABET = /^[A-Za-z0-9_-]*$/;

// The bytes of a member in base64url without padding.
export function member(jwk, key) {
  const value = jwk[key];
  if (value === undefined) wrong(`has no "${key}"`);
  if (!test(ALPHABET, value)) wrong(`has a "${key}" that is not base64url`);
  try {
    return unbase64(value, { alphabet: "base64url", lastChunkHandling: "loose" });
  } catch {
    return wrong(`has a "${key}" that is not base64url`);
  }
}

export function base64url(buffer) {
  return base64(new View(buffer), { alphabet: "base64url", omitPadding: true });
}
