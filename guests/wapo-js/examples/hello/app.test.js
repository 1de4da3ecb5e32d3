// Tests of the service, which they call as a function: `wapo test guests/wapo-js/examples/hello`.
import assert from "node:assert";
import { test } from "node:test";
import app from "./app.js";

const ask = async (path, env = {}) => (await app.fetch(new Request(`http://localhost${path}`), env)).text();

test("every path is greeted", async () => {
  assert.strictEqual(await ask("/"), "Hello from /\n");
  assert.strictEqual(await ask("/world?x=1"), "Hello from /world\n");
});

test("the environment says how", async () => {
  assert.strictEqual(await ask("/", { GREETING: "Moin" }), "Moin from /\n");
});
