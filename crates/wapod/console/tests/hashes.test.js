// The address that the console shows before a deploy is the one that the worker computes.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { blake2b256 } from "../blake2b.js";
import { fromHex, toHex } from "../format.js";
import { addressOf, encodeManifest } from "../manifest.js";
import { ScaleWriter } from "../scale.js";
import { blobHash, sha256Slowly } from "../sha256.js";

const noise = (length) => Uint8Array.from({ length }, (_, i) => (i * 131 + (i >> 8)) & 0xff);

test("blake2b has the digests of its reference implementation", () => {
  const digests = {
    0: "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
    3: "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
  };
  assert.equal(toHex(blake2b256(new Uint8Array())), digests[0]);
  assert.equal(toHex(blake2b256(new TextEncoder().encode("abc"))), digests[3]);
});

test("blake2b takes messages around the ends of its blocks", () => {
  // Made with Python's hashlib.blake2b(digest_size=32) over the same noise.
  const expected = [
    [1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"],
    [127, "4b0b0193aa815778cf912a58e0596376b1b9ddb0fe082e416b7db3fe3bed9428"],
    [128, "83c6c2983b3d208871a892fcd2ab336a8bd94c6e377d27668cbb4ae8a77784ce"],
    [129, "9bf9f77228216c33d5b1c8f722bc5a7872074b591aa3844df7b2b9b6ed6ac2a5"],
    [255, "1959042f7100a1666664270f6b0030b2f170b6590ee038ab4993f5a68b2ed85a"],
    [256, "324447ee6f0902cc88263747058e772d666987b29a2f10226ea2ddcbad2d3206"],
    [257, "717bc1a8b0a456f317e96ddb785601f9ee16694807f5e65ee873f542dc36e73f"],
    [1000, "319bb924773fce72117b6f83ae0b62ca7e29dcdbe19b2173be76f21c9df7a976"],
    [20000, "129684ad42b01ffd065028aa08c0000805ba962a805d8eb12819e3d0400e8c00"],
  ];
  for (const [length, digest] of expected) {
    assert.equal(toHex(blake2b256(noise(length))), digest, `${length} bytes`);
  }
});

test("sha256 without the browser's help is sha256", async () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
    const bytes = noise(length);
    const expected = createHash("sha256").update(bytes).digest("hex");
    assert.equal(toHex(sha256Slowly(bytes)), expected, `${length} bytes`);
    assert.equal(await blobHash(bytes), `sha256:${expected}`);
    assert.equal(toHex(sha256Slowly(noise(length + 3).subarray(3))), createHash("sha256").update(noise(length + 3).subarray(3)).digest("hex"));
  }
});

test("a manifest has the address that every worker gives it", () => {
  const manifest = {
    version: 1,
    code_hash: "sha256:00ff",
    args: ["a", "bc"],
    env_vars: [{ key: "RUST_LOG", value: "info" }],
    on_demand: false,
    resizable: true,
    max_query_size: 10240,
    label: "Test App",
    required_blobs: [{ key: "sha256:11", value: "Qm" }],
  };
  const encoded = "010000002c7368613235363a303066660804610862630420525553545f4c4f4710696e666f"
    + "00010028000020546573742041707004247368613235363a313108516d";
  assert.equal(toHex(encodeManifest(manifest)), encoded);
  assert.equal(addressOf(manifest), "0x434c16939c8132c6f4376b1748c4a6b963031fe9ac1a1432d9f6932da6a5144c");
});

test("compact lengths have three forms", () => {
  const compact = (value) => toHex(new ScaleWriter().compact(value).finish());
  assert.equal(compact(0), "00");
  assert.equal(compact(63), "fc");
  assert.equal(compact(64), "0101");
  assert.equal(compact(16383), "fdff");
  assert.equal(compact(16384), "02000100");
  assert.equal(compact(2 ** 30 - 1), "feffffff");
  assert.throws(() => compact(2 ** 30), RangeError);
});

test("strings are UTF-8 and counted in bytes", () => {
  assert.equal(toHex(new ScaleWriter().string("é").finish()), "08c3a9");
});

test("numbers that do not fit are refused", () => {
  for (const wrong of [-1, 2 ** 32, 0.5, NaN]) {
    assert.throws(() => new ScaleWriter().u32(wrong), RangeError);
  }
});

test("hex is read with and without its prefix, and refused when it is none", () => {
  assert.deepEqual(fromHex("0x01fF"), Uint8Array.of(1, 255));
  assert.deepEqual(fromHex("01 ff\n"), Uint8Array.of(1, 255));
  assert.deepEqual(fromHex(""), new Uint8Array());
  assert.throws(() => fromHex("0x1"), RangeError);
  assert.throws(() => fromHex("0xzz"), RangeError);
});
