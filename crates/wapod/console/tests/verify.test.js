// What the page /verify makes of files before the verifier sees them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ROLES, encodeMessage, roleOf } from "../verify-files.js";

const bytes = (text) => new TextEncoder().encode(text);

test("files are known by what they say, and by their ending where they say nothing", () => {
  const roles = [
    ["a.json", '{"kind":"wapo-app-evidence","version":1}', "app"],
    ["a", ' {"version": 1, "kind": "wapo-worker-evidence"}', "worker"],
    ["bill", '{"kind":"wapo-usage","version":1,"worker":"0x00","app":null}\n{"seq":1}', "usage"],
    ["a.json", '{"kind":"wapo-answer","version":1,"request":{}}', "answer"],
    ["c.json", '{"pck_crl_issuer_chain":"x"}', "collateral"],
    ["p.json", '{"apps":[]}', "policy"],
    ["p.TOML", "[[apps]]", "policy"],
    ["x.pem", "-----BEGIN CERTIFICATE-----", "certificate"],
    ["q.hex", "0x0300020000000000", "quote"],
    ["q", "\u0004\0\u0002\0\u0081\0\0\0", "quote"],
    ["other", "{}", ""],
    ["other", "", ""],
    ["other", "text", ""],
  ];
  for (const [name, text, role] of roles) {
    const head = name === "q" ? Uint8Array.from(text, (c) => c.charCodeAt(0)) : bytes(text);
    assert.equal(roleOf(name, head.length, head), role, `${name}: ${text}`);
  }
  assert.equal(roleOf("x.der", 900, Uint8Array.of(0x30, 0x82, 3, 0)), "certificate");
  assert.equal(roleOf("report", 1184, new Uint8Array(1184)), "quote");
  assert.ok(Object.values(ROLES).every(({ bytesMax }) => bytesMax > 0));
});

test("a message is its head and the contents", () => {
  const message = encodeMessage({ now: 7 }, [
    { role: "quote", name: "ä", bytes: bytes("ab") },
    { role: "policy", name: "p", bytes: bytes("c") },
  ]);
  const length = new DataView(message.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length)));
  assert.deepEqual(head, {
    now: 7,
    files: [{ role: "quote", name: "ä", bytes: 2 }, { role: "policy", name: "p", bytes: 1 }],
  });
  assert.equal(new TextDecoder().decode(message.subarray(4 + length)), "abc");
});
