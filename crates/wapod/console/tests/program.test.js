// What a program in JavaScript is to the worker.

import assert from "node:assert/strict";
import { test } from "node:test";

import { firstBlob, isModule, manifestFor, placeOf, readArguments, readProgram } from "../program.js";

const hash = (digit) => `sha256:${digit.repeat(64)}`;

test("what has import or export is a module", () => {
  for (const text of [
    "export default {};", "  export const a = 1", "import a from './a.js'", "import './a.js'", "import * as a from 'a'",
    "import{a}from'./a.js'", "import a, { b } from './a.js'", "x;\nexport { x };", "export async function f() {}", "export default{}",
    "throw new Error('at start'); export {}", "class A {} export { A };",
  ]) assert.ok(isModule(text), text);
  for (const text of [
    "addEventListener('fetch', () => {})", "import('./a.js')", "import.meta", "exports.a = 1", "const s = 'export default'",
    "exportAll()", "importScripts('x')", "// export default",
  ]) assert.ok(!isModule(text), text);
});

test("only arguments of a program that can be opened are read", () => {
  assert.deepEqual(readArguments(["--code-hash", hash("a")]), { kind: "script", hash: hash("a"), rest: [] });
  assert.deepEqual(readArguments(["--program", hash("a"), "--", "--module", "x"]), { kind: "list", hash: hash("a"), rest: ["--module", "x"] });
  for (const args of [[], ["-c", "code"], ["--module"], ["--module", "x"], ["--module", hash("a"), "--module", hash("b")], ["toString", hash("a")]]) {
    assert.equal(readArguments(args), null, args.join(" "));
  }
});

test("a list of files is read and written", () => {
  const text = JSON.stringify({ version: 1, entry: "m.js", files: { "m.js": hash("b"), "w.txt": hash("c") }, imports: { "#w": "./w.txt" } });
  const program = readProgram("list", { hash: hash("a"), text });
  assert.deepEqual([...program.files.keys()], ["m.js", "w.txt"]);
  const first = firstBlob(program);
  assert.equal(first.option, "--program");
  assert.deepEqual(JSON.parse(first.text), JSON.parse(text));
  for (const bad of ["{", "null", '{"version":2,"entry":"a","files":{}}', `{"version":1,"entry":"a","files":{"b":"${hash("a")}"}}`,
    '{"version":1,"entry":"a","files":{"a":"../../etc"}}']) {
    assert.throws(() => readProgram("list", { hash: hash("a"), text: bad }), bad);
  }
});

test("a script of the old kind is deployed without a list", () => {
  const script = readProgram("script", { hash: hash("a"), text: "1" });
  assert.deepEqual(firstBlob(script), { option: "--code-hash", hash: hash("a") });
  const module = readProgram("module", { hash: hash("a"), text: "export {}" });
  assert.equal(firstBlob(module).option, "--program");
});

test("what is edited keeps everything of the app but its program", () => {
  const before = {
    args: ["--code-hash", hash("a"), "--", "x"], env_vars: [{ key: "A", value: "b" }], on_demand: true, resizable: false, max_query_size: 7,
  };
  const others = [{ key: hash("d"), value: "cid" }];
  const manifest = manifestFor({ engine: hash("e"), option: "--program", hashes: [hash("b"), hash("c")], others, label: "l" }, before);
  assert.deepEqual(manifest, {
    version: 1, code_hash: hash("e"), args: ["--program", hash("b"), "--", "x"], env_vars: before.env_vars, on_demand: true, resizable: false,
    max_query_size: 7, label: "l",
    required_blobs: [{ key: hash("b"), value: "" }, { key: hash("c"), value: "" }, ...others],
  });
});

test("places are found in what the engine says", () => {
  const names = ["app.js", "lib/a.js"];
  assert.deepEqual(placeOf("SyntaxError: unexpected token\n    at app.js:3:9", names), { file: "app.js", line: 3, column: 9, message: "SyntaxError: unexpected token" });
  assert.deepEqual(placeOf("TypeError: no\n    at f (file:///lib/a.js:2:1)\n    at app.js:1:1", names).file, "lib/a.js");
  assert.deepEqual(placeOf("ReferenceError: x\n    at <anonymous> (<script>:4:2)", names), { file: "app.js", line: 4, column: 2, message: "ReferenceError: x" });
  assert.equal(placeOf("connected to 127.0.0.1:80:1 at 12:30:00", names), null);
  assert.equal(placeOf("fetched http://app.js:80:1", names), null);
});

test("texts that are made to be slow are not", () => {
  const long = 1_000_000;
  const begun = performance.now();
  for (const text of ["import a" + " ".repeat(long), "export" + "\n".repeat(long), " ".repeat(long), "a".repeat(long) + "Error", "1:".repeat(long)]) {
    isModule(text);
    placeOf(text, ["app.js"]);
  }
  assert.ok(performance.now() - begun < 20_000);
});
