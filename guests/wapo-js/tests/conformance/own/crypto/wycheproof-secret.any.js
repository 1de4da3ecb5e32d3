// Project Wycheproof: vectors for secret keys, against Web Cryptography. A vector that is `valid` has to give the expected bytes;
// one that is `invalid` has to be refused; `acceptable` may be either.
// META: script=resources/wycheproof.js

vectors(() => fetch("/data/wycheproof/aes_gcm_test.json"), async (v, group) => {
  const key = await raw(v.key, "AES-GCM", ["encrypt", "decrypt"]);
  const algorithm = { name: "AES-GCM", iv: hex(v.iv), additionalData: hex(v.aad), tagLength: group.tagSize };
  const open = subtle.decrypt(algorithm, key, hex(v.ct + v.tag));
  if (v.result === "invalid") return refused(open);
  assert_equals(text(await open), v.msg);
  assert_equals(text(await subtle.encrypt(algorithm, key, hex(v.msg))), v.ct + v.tag);
});

vectors(() => fetch("/data/wycheproof/aes_cbc_pkcs5_test.json"), async (v) => {
  const key = await raw(v.key, "AES-CBC", ["encrypt", "decrypt"]);
  const algorithm = { name: "AES-CBC", iv: hex(v.iv) };
  const open = subtle.decrypt(algorithm, key, hex(v.ct));
  if (v.result === "invalid") return refused(open);
  assert_equals(text(await open), v.msg);
  assert_equals(text(await subtle.encrypt(algorithm, key, hex(v.msg))), v.ct);
});

vectors(() => fetch("/data/wycheproof/aes_wrap_test.json"), async (v) => {
  const key = await raw(v.key, "AES-KW", ["wrapKey", "unwrapKey"]);
  if (v.result === "acceptable") return;
  const open = subtle.unwrapKey("raw", hex(v.ct), key, "AES-KW", { name: "HMAC", hash: "SHA-256" }, true, ["sign"]);
  if (v.result === "invalid") return refused(open);
  assert_equals(text(await subtle.exportKey("raw", await open)), v.msg);
  assert_equals(text(await subtle.wrapKey("raw", await raw(v.msg, { name: "HMAC", hash: "SHA-256" }, ["sign"]), key, "AES-KW")), v.ct);
});

for (const [hash, get] of [
  ["SHA-1", () => fetch("/data/wycheproof/hmac_sha1_test.json")],
  ["SHA-256", () => fetch("/data/wycheproof/hmac_sha256_test.json")],
  ["SHA-384", () => fetch("/data/wycheproof/hmac_sha384_test.json")],
  ["SHA-512", () => fetch("/data/wycheproof/hmac_sha512_test.json")],
]) {
  vectors(get, async (v, group) => {
    const key = await raw(v.key, { name: "HMAC", hash }, ["sign", "verify"]);
    const tag = text(await subtle.sign("HMAC", key, hex(v.msg)));
    assert_equals(tag.slice(0, group.tagSize / 4) === v.tag, v.result === "valid", "sign");
    // Web Cryptography has whole tags only.
    assert_equals(await subtle.verify("HMAC", key, hex(v.tag), hex(v.msg)), v.result === "valid" && tag.length === v.tag.length, "verify");
  });
}

for (const [hash, get] of [
  ["SHA-1", () => fetch("/data/wycheproof/hkdf_sha1_test.json")],
  ["SHA-256", () => fetch("/data/wycheproof/hkdf_sha256_test.json")],
  ["SHA-384", () => fetch("/data/wycheproof/hkdf_sha384_test.json")],
  ["SHA-512", () => fetch("/data/wycheproof/hkdf_sha512_test.json")],
]) {
  vectors(get, async (v) => {
    const key = await raw(v.ikm, "HKDF", ["deriveBits"], false);
    const made = subtle.deriveBits({ name: "HKDF", hash, salt: hex(v.salt), info: hex(v.info) }, key, v.size * 8);
    if (v.result === "invalid") return refused(made);
    assert_equals(text(await made), v.okm);
  });
}

for (const [hash, get] of [
  ["SHA-1", () => fetch("/data/wycheproof/pbkdf2_hmacsha1_test.json")],
  ["SHA-256", () => fetch("/data/wycheproof/pbkdf2_hmacsha256_test.json")],
  ["SHA-384", () => fetch("/data/wycheproof/pbkdf2_hmacsha384_test.json")],
  ["SHA-512", () => fetch("/data/wycheproof/pbkdf2_hmacsha512_test.json")],
]) {
  vectors(get, async (v) => {
    const key = await raw(v.password, "PBKDF2", ["deriveBits"], false);
    const made = subtle.deriveBits({ name: "PBKDF2", hash, salt: hex(v.salt), iterations: v.iterationCount }, key, v.dkLen * 8);
    if (v.result === "invalid") return refused(made);
    assert_equals(text(await made), v.dk);
  });
}
