// Tests: `wapo test`.
import assert from "node:assert";
import { test } from "node:test";
import app from "./app.js";

const ask = (path) => app.fetch(new Request(`http://localhost${path}`));

test("every path is greeted", async () => {
  const answer = await ask("/you");
  assert.strictEqual(await answer.text(), "Hello! You asked for /you\n");
});

test("/json tells what was asked", async () => {
  const answer = await ask("/json");
  assert.deepStrictEqual(await answer.json(), { method: "GET", pathname: "/json" });
});
