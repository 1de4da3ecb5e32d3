// Project Wycheproof: vectors for pairs of keys of curves, against Web Cryptography. A vector that is `valid` has to give the expected bytes;
// one that is `invalid` has to be refused; `acceptable` may be either, but where an answer is given it is the expected one.
// META: script=resources/wycheproof.js

for (const [namedCurve, get] of [
  ["P-256", () => fetch("/data/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")],
  ["P-384", () => fetch("/data/wycheproof/ecdsa_secp384r1_sha384_p1363_test.json")],
  ["P-521", () => fetch("/data/wycheproof/ecdsa_secp521r1_sha512_p1363_test.json")],
]) signatures(get, ({ sha }) => ({ name: "ECDSA", namedCurve, hash: sha }), spki);

signatures(() => fetch("/data/wycheproof/ed25519_test.json"), () => ({ name: "Ed25519" }),
  (group, algorithm) => subtle.importKey("raw", hex(group.publicKey.pk), algorithm, true, ["verify"]));

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
