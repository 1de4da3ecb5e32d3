// Project Wycheproof: vectors for RSA, against Web Cryptography. A vector that is `valid` has to give the expected bytes;
// one that is `invalid` has to be refused; `acceptable` may be either, but where an answer is given it is the expected one.
// META: script=resources/wycheproof.js

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
