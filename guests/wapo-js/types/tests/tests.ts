// The modules `wapo:test` and `wapo:assert`, and their names of Node. Checked by `cargo xtask types`; never run.
import assert, { AssertionError } from "node:assert";
import strict from "node:assert/strict";
import nodeTest, { after, afterEach, before, beforeEach, describe, it, mock } from "node:test";
import { deepStrictEqual } from "wapo:assert";
import { test } from "wapo:test";

before(() => {});
after(async () => {});
beforeEach((t) => t?.diagnostic("x"));
afterEach((_, done) => done());

test("a name", async (t) => {
  await t.test("another", { timeout: 100, skip: "later" }, () => {});
  t.plan(2);
  t.assert.equal(1, 1);
  const f = t.mock.fn((n: number) => n + 1);
  const given: number | undefined = f.mock.calls[0]?.arguments[0];
  const own: number = f(1);
  deepStrictEqual(own, given);
});
test.skip("a name");
test.only("a name", () => {});
nodeTest.todo("a name", { timeout: 5 }, () => {});
describe("a suite", () => {
  it("a test", (t, done) => done(t.signal.reason));
});
// @ts-expect-error a name is text
test(7, () => {});
// @ts-expect-error no such option
test("a name", { parallel: true }, () => {});

const value: unknown = 1;
assert(typeof value === "number");
const number: number = value;
assert.throws(() => { throw new Error("x"); }, /x/);
assert.throws(() => {}, { message: "x" }, "why");
await assert.rejects(async () => {}, AssertionError);
strict.equal(number, 1);
// @ts-expect-error a promise is wanted
await assert.rejects(() => 7);
// @ts-expect-error a regular expression is wanted
assert.match("x", "x");
mock.method({ log(text: string) { return text; } }, "log").mock.callCount();
// @ts-expect-error no such method
mock.method({ log() {} }, "print");
