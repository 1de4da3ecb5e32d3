// The thread of the page /verify: what it answers, also when the verifier breaks off.

import assert from "node:assert/strict";
import { test } from "node:test";

/** Exports `memory`, `input`, `verify` and `output`; `verify` has this body. */
const verifier = (body, data) => WebAssembly.compile(Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  // Types: i32 -> i32 and -> i32; three functions; a page of memory.
  ...[1, 10, 2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 1, 0x7f],
  ...[3, 4, 3, 0, 1, 1, 5, 3, 1, 0, 1],
  ...[7, 36, 4, 6, ...Buffer.from("memory"), 2, 0, 5, ...Buffer.from("input"), 0, 0],
  ...[6, ...Buffer.from("verify"), 0, 1, 6, ...Buffer.from("output"), 0, 2],
  // Messages are written to 0, answers are at 64.
  ...[10, 15 + body.length, 3, 4, 0, 0x41, 0, 0x0b, body.length + 2, 0, ...body, 0x0b, 5, 0, 0x41, 0xc0, 0, 0x0b],
  ...[11, 7 + data.length, 1, 0, 0x41, 0xc0, 0, 0x0b, data.length, ...data],
]));

let listen = null;
globalThis.addEventListener = (name, listener) => {
  listen = listener;
};
await import("../verify-worker.js");

/** What the thread posts for a message. */
async function posted(module, message) {
  const all = [];
  globalThis.postMessage = (data) => all.push(data);
  await listen({ data: { module, message } });
  assert.equal(all.length, 1);
  return all[0];
}

test("an answer is passed on, and what breaks off is told as that", async () => {
  const data = Buffer.from('{"a":"ä"}');
  // i32.const length
  const good = await verifier([0x41, data.length], data);
  assert.deepEqual(await posted(good, Uint8Array.of(1)), { answer: { a: "ä" } });
  // unreachable
  const trap = await verifier([0x00], data);
  assert.match((await posted(trap, Uint8Array.of(1))).broken, /unreachable/);
  // An endless call of itself.
  const deep = await verifier([0x10, 0x01], data);
  assert.match((await posted(deep, Uint8Array.of(1))).broken, /stack/i);
  // More than there is room for.
  assert.equal(typeof (await posted(good, new Uint8Array(1 << 17))).broken, "string");
  // No JSON.
  const cut = await verifier([0x41, 3], data);
  assert.match((await posted(cut, Uint8Array.of(1))).broken, /JSON/);
});
