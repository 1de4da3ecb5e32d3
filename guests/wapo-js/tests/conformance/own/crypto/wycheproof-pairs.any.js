// Project Wycheproof: vectors for pairs of keys, against Web Cryptography. A vector that is `valid` has to give the expected bytes;
// one that is `invalid` has to be refused; `acceptable` may be either, but where an answer is given it is the expected one.
// META: script=resources/wycheproof.js

// Verifies a signature; a key or signature that is refused is a signature that is not valid.
async function verified(algorithm, key, v) {
  try {
    return await subtle.verify(algorithm, await key(), hex(v.sig), hex(v.msg));
  } catch {
    return false;
  }
}

function signatures(get, algorithmOf, importKey) {
  vectors(get, async (v, group) => {
    const algorithm = algorithmOf(group);
    const is = await verified(algorithm, () => importKey(group, algorithm), v);
    if (v.result !== "acceptable") assert_equals(is, v.result === "valid");
  });
}

const spki = (group, algorithm) => subtle.importKey("spki", hex(group.publicKeyDer), algorithm, true, ["verify"]);

for (const [namedCurve, get] of [
  ["P-256", () => fetch("/data/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")],
  ["P-384", () => fetch("/data/wycheproof/ecdsa_secp384r1_sha384_p1363_test.json")],
  ["P-521", () => fetch("/data/wycheproof/ecdsa_secp521r1_sha512_p1363_test.json")],
]) signatures(get, ({ sha }) => ({ name: "ECDSA", namedCurve, hash: sha }), spki);

signatures(() => fetch("/data/wycheproof/ed25519_test.json"), () => ({ name: "Ed25519" }),
  (group, algorithm) => subtle.importKey("raw", hex(group.publicKey.pk), algorithm, true, ["verify"]));

for (const get of [
  () => fetch("/data/wycheproof/rsa_signature_2048_sha256_test.json"),
  () => fetch("/data/wycheproof/rsa_signature_2048_sha384_test.json"),
  () => fetch("/data/wycheproof/rsa_signature_2048_sha512_test.json"),
  () => fetch("/data/wycheproof/rsa_signature_3072_sha256_test.json"),
  () => fetch("/data/wycheproof/rsa_signature_4096_sha512_test.json"),
]) signatures(get, ({ sha }) => ({ name: "RSASSA-PKCS1-v1_5", hash: sha }), spki);

for (const get of [
  () => fetch("/data/wycheproof/rsa_pss_2048_sha1_mgf1_20_test.json"),
  () => fetch("/data/wycheproof/rsa_pss_2048_sha256_mgf1_0_test.json"),
  () => fetch("/data/wycheproof/rsa_pss_2048_sha256_mgf1_32_test.json"),
  () => fetch("/data/wycheproof/rsa_pss_2048_sha384_mgf1_48_test.json"),
  () => fetch("/data/wycheproof/rsa_pss_4096_sha512_mgf1_64_test.json"),
]) signatures(get, ({ sha, sLen }) => ({ name: "RSA-PSS", hash: sha, saltLength: sLen }), spki);

for (const get of [
  () => fetch("/data/wycheproof/rsa_oaep_2048_sha1_mgf1sha1_test.json"),
  () => fetch("/data/wycheproof/rsa_oaep_2048_sha256_mgf1sha256_test.json"),
  () => fetch("/data/wycheproof/rsa_oaep_2048_sha384_mgf1sha384_test.json"),
  () => fetch("/data/wycheproof/rsa_oaep_2048_sha512_mgf1sha512_test.json"),
]) {
  vectors(get, async (v, group) => {
    const key = await subtle.importKey("pkcs8", hex(group.privateKeyPkcs8), { name: "RSA-OAEP", hash: group.sha }, true, ["decrypt"]);
    const open = subtle.decrypt({ name: "RSA-OAEP", label: hex(v.label) }, key, hex(v.ct));
    if (v.result === "invalid") return refused(open);
    assert_equals(text(await open), v.msg);
  });
}

// PKCS #8 of a scalar: RFC 5915 in RFC 5208, RFC 8410.
const CURVES = {
  "P-256": { size: 32, oid: "06082a8648ce3d030107" },
  "P-384": { size: 48, oid: "06052b81040022" },
  "P-521": { size: 66, oid: "06052b81040023" },
};
const der = (tag, content) => {
  const size = content.length / 2;
  const length = size < 128 ? size.toString(16).padStart(2, "0") : size < 256 ? `81${size.toString(16)}` : `82${size.toString(16).padStart(4, "0")}`;
  return tag + length + content;
};
function scalarOf(digits, size) {
  const whole = digits.padStart(size * 2, "0");
  return whole.slice(whole.length - size * 2);
}
function pkcs8(curve, scalar) {
  const { size, oid } = CURVES[curve];
  const inner = der("30", `020101${der("04", scalarOf(scalar, size))}`);
  return hex(der("30", `020100${der("30", `06072a8648ce3d0201${oid}`)}${der("04", inner)}`));
}

for (const [namedCurve, get] of [
  ["P-256", () => fetch("/data/wycheproof/ecdh_secp256r1_ecpoint_test.json")],
  ["P-384", () => fetch("/data/wycheproof/ecdh_secp384r1_ecpoint_test.json")],
  ["P-521", () => fetch("/data/wycheproof/ecdh_secp521r1_ecpoint_test.json")],
]) {
  vectors(get, async (v) => {
    const algorithm = { name: "ECDH", namedCurve };
    const agree = async () => {
      const own = await subtle.importKey("pkcs8", pkcs8(namedCurve, v.private), algorithm, true, ["deriveBits"]);
      return subtle.deriveBits({ name: "ECDH", public: await subtle.importKey("raw", hex(v.public), algorithm, true, []) }, own, CURVES[namedCurve].size * 8);
    };
    if (v.result === "invalid") return refused(agree());
    // Points in their short form need not be read.
    if (v.result === "valid") assert_equals(text(await agree()), v.shared);
  });
}

vectors(() => fetch("/data/wycheproof/x25519_test.json"), async (v) => {
  const pair = hex(`302e020100300506032b656e04220420${v.private}`);
  const own = await subtle.importKey("pkcs8", pair, "X25519", true, ["deriveBits"]);
  const made = subtle.deriveBits({ name: "X25519", public: await subtle.importKey("raw", hex(v.public), "X25519", true, []) }, own, 256);
  // Points of small order give nothing, which has to be refused (Secure Curves, "X25519", derive bits, step 7).
  if (/^0*$/.test(v.shared)) return refused(made);
  assert_equals(text(await made), v.shared);
});
