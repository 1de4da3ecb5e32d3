// What a test has and how tests follow one another, as tests that `wapo test` runs. Each checks what those before it left behind.
import assert from "node:assert";
import test, { after, afterEach, before, beforeEach, describe, it, mock } from "node:test";

const seen = [];

before(() => seen.push("before"));
beforeEach((t) => seen.push(`beforeEach ${t.name}`));
afterEach(async (t) => {
  await null;
  seen.push(`afterEach ${t.name}`);
});
after(() => assert.ok(seen.includes("all of it")));

test("hooks of the file", () => {
  assert.deepStrictEqual(seen, ["before", "beforeEach hooks of the file"]);
  seen.length = 0;
});

describe("a suite", () => {
  before(() => seen.push("before the suite"));
  beforeEach(() => seen.push("beforeEach of the suite"));
  afterEach(() => seen.push("afterEach of the suite"));
  after((_, done) => {
    seen.push("after the suite");
    done();
  });
  it("one", () => seen.push("one"));
  it("two", async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    seen.push("two");
  });
});

test("order of a suite", () => {
  const of = (name) => [`beforeEach ${name}`, "beforeEach of the suite", name, "afterEach of the suite", `afterEach ${name}`];
  assert.deepStrictEqual(seen.splice(0), ["afterEach hooks of the file", "before the suite", ...of("one"), ...of("two"), "after the suite", "beforeEach order of a suite"]);
});

test("subtests run in turn and belong to their test", async (t) => {
  const order = [];
  const first = t.test("first", async (inner) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    order.push(inner.fullName);
  });
  await t.test("second", () => order.push("second"));
  await first;
  assert.deepStrictEqual(order, ["subtests run in turn and belong to their test > first", "second"]);
  await test("without the context", () => order.push("third"));
  assert.strictEqual(order.length, 3);
});

test("a function with two parameters calls back", (t, done) => {
  assert.strictEqual(t.name, "a function with two parameters calls back");
  setTimeout(done, 1);
});

test("what is skipped or still to be done may fail", async (t) => {
  await t.test("skipped", { skip: true }, () => assert.fail());
  await t.test("skipped later", (inner) => {
    inner.skip("no reason");
    assert.fail();
  });
  await t.test("to do", { todo: "some day" }, () => assert.fail());
  await t.test("without a function");
});

test("assertions are counted for a plan", async (t) => {
  t.plan(2);
  t.assert.strictEqual(1, 1);
  t.assert.deepStrictEqual([1], [1]);
});

test("functions remember their calls", (t) => {
  const add = t.mock.fn((a, b) => a + b);
  assert.strictEqual(add(1, 2), 3);
  assert.deepStrictEqual(add.mock.calls[0].arguments, [1, 2]);
  assert.strictEqual(add.mock.calls[0].result, 3);
  add.mock.mockImplementationOnce(() => 9);
  assert.deepStrictEqual([add(1, 1), add(1, 1)], [9, 2]);
  const target = { greet: (name) => `hello ${name}` };
  const greet = mock.method(target, "greet", () => "nothing");
  assert.strictEqual(target.greet("you"), "nothing");
  assert.strictEqual(greet.mock.callCount(), 1);
  greet.mock.restore();
  assert.strictEqual(target.greet("you"), "hello you");
  const fails = t.mock.fn(() => { throw new Error("x"); });
  assert.throws(fails, /x/);
  assert.strictEqual(fails.mock.calls[0].error.message, "x");
});

test("the rest", () => seen.push("all of it"));
