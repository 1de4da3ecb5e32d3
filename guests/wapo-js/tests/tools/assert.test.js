// What `wapo:assert` takes and refuses, as tests that `wapo test` runs.
import assert, { AssertionError } from "node:assert";
import strict from "node:assert/strict";
import { describe, it } from "node:test";

function refused(action, part) {
  let thrown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof AssertionError)) throw new Error(`expected an AssertionError, got ${thrown}`);
  if (thrown.code !== "ERR_ASSERTION" || thrown.name !== "AssertionError") throw new Error("code and name");
  if (part !== undefined && !thrown.message.includes(part)) throw new Error(`no ${JSON.stringify(part)} in ${thrown.message}`);
  return thrown;
}

const circle = (value) => {
  const object = { value };
  object.self = object;
  return object;
};
const symbol = Symbol("s");
class Point { constructor(x) { this.x = x; } }

// [a, b, deeply and strictly equal, loosely]
const PAIRS = [
  [1, 1, true, true], [1, 2, false, false], [1, "1", false, true], [NaN, NaN, true, true], [0, -0, false, true], [null, undefined, false, true],
  [[1, 2], [1, 2], true, true], [[1, 2], [2, 1], false, false], [[1, , 3], [1, undefined, 3], false, false], [[], {}, false, false], [[1], ["1"], false, true],
  [{ a: 1, b: 2 }, { b: 2, a: 1 }, true, true], [{ a: 1 }, { a: 1, b: undefined }, false, false], [{ a: undefined }, { b: undefined }, false, false],
  [new Point(1), { x: 1 }, false, true], [new Point(1), new Point(1), true, true], [Object.create(null), {}, false, true],
  [{ [symbol]: 1 }, { [symbol]: 2 }, false, true], [circle(1), circle(1), true, true], [circle(1), circle(2), false, false],
  [new Date(5), new Date(5), true, true], [new Date(5), new Date(6), false, false], [/a/g, /a/g, true, true], [/a/g, /a/i, false, false],
  [new Error("a"), new Error("a"), true, true], [new Error("a"), new Error("b"), false, false], [new Error("a"), new TypeError("a"), false, false],
  [new Error("a", { cause: 1 }), new Error("a", { cause: 2 }), false, false],
  [new Map([[1, { a: 1 }], [2, 3]]), new Map([[2, 3], [1, { a: 1 }]]), true, true], [new Map([[{ k: 1 }, 1]]), new Map([[{ k: 1 }, 1]]), true, true],
  [new Map([[1, 2]]), new Map([[1, 3]]), false, false], [new Set([1, { a: 1 }]), new Set([{ a: 1 }, 1]), true, true], [new Set([1]), new Set([2]), false, false],
  [new Set([{ a: 1 }, { a: 1 }]), new Set([{ a: 1 }, { a: 2 }]), false, false],
  [new Uint8Array([1, 2]), new Uint8Array([1, 2]), true, true], [new Uint8Array([1]), new Int8Array([1]), false, false],
  [new Float64Array([NaN]), new Float64Array([NaN]), true, true], [new Float64Array([0]), new Float64Array([-0]), false, true],
  [new Uint8Array([1]).buffer, new Uint8Array([1]).buffer, true, true], [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer, false, false],
  [Object(1), Object(1), true, true], [Object(1), Object(2), false, false], [new URL("http://a/"), new URL("http://a/"), true, true],
  [new URL("http://a/"), new URL("http://b/"), false, false], [() => {}, () => {}, false, false], [Promise.resolve(1), Promise.resolve(1), false, false], [1n, 1n, true, true],
  [new Proxy({ a: 1 }, {}), { a: 1 }, true, true],
];

describe("deep equality", () => {
  PAIRS.forEach(([a, b, isStrict, isLoose], index) => {
    it(`pair ${index}`, () => {
      for (const [one, two] of [[a, b], [b, a]]) {
        if (isStrict) assert.deepStrictEqual(one, two);
        else refused(() => assert.deepStrictEqual(one, two));
        if (isStrict) refused(() => assert.notDeepStrictEqual(one, two));
        else assert.notDeepStrictEqual(one, two);
        if (isLoose) assert.deepEqual(one, two);
        else refused(() => assert.deepEqual(one, two));
      }
    });
  });

  it("has no end in circles of two", () => {
    const one = {}, two = {};
    one.next = two;
    two.next = one;
    assert.deepStrictEqual(one, two);
  });

  it("shows where values differ", () => {
    const { message } = refused(() => assert.deepStrictEqual({ a: 1, b: [1, 2, 3], c: "x".repeat(60) }, { a: 1, b: [1, 9, 3], c: "x".repeat(60) }));
    assert.match(message, /^Expected values to be strictly deep-equal:\n\+ actual - expected\n/);
    assert.ok(message.includes("+   b: [ 1, 2, 3 ]") && message.includes("-   b: [ 1, 9, 3 ]") && message.includes("    a: 1"), message);
    const short = refused(() => assert.strictEqual(1, 2));
    assert.strictEqual(short.message, "Expected values to be strictly equal:\n\n1 !== 2");
    assert.deepStrictEqual([short.actual, short.expected, short.operator, short.generatedMessage], [1, 2, "strictEqual", true]);
  });
});

describe("plain comparisons", () => {
  it("are strict or loose", () => {
    assert.equal(1, "1");
    assert.equal(NaN, NaN);
    assert.notEqual(1, 2);
    assert.strictEqual(NaN, NaN);
    refused(() => assert.strictEqual(0, -0));
    refused(() => assert.equal(1, 2));
    refused(() => assert.notStrictEqual(1, 1));
    refused(() => strict.equal(1, "1"));
    refused(() => strict.deepEqual([1], ["1"]));
    refused(() => assert.strict.equal(1, "1"));
    strict(1);
  });

  it("takes a message, or an error that is thrown itself", () => {
    refused(() => assert.ok(0, "why"), "why");
    refused(() => assert(false), "got false");
    const own = new RangeError("own");
    assert.throws(() => assert.strictEqual(1, 2, own), own);
    refused(() => assert.fail("gone"), "gone");
    refused(() => assert.ifError(new Error("inner")), "inner");
    assert.ifError(null);
  });

  it("finds parts", () => {
    assert.partialDeepStrictEqual({ a: 1, b: { c: [1, 2, 3] } }, { b: { c: [1, 3] } });
    assert.partialDeepStrictEqual(new Map([[1, 2], [3, 4]]), new Map([[3, 4]]));
    assert.partialDeepStrictEqual(new Set([1, 2]), new Set([2]));
    refused(() => assert.partialDeepStrictEqual({ a: 1 }, { a: 2 }));
    refused(() => assert.partialDeepStrictEqual([1, 2], [2, 1]));
  });

  it("matches texts", () => {
    assert.match("abc", /b/);
    assert.doesNotMatch("abc", /x/);
    refused(() => assert.match("abc", /x/), "did not match");
    refused(() => assert.doesNotMatch("abc", /b/));
    assert.throws(() => assert.match("abc", "b"), TypeError);
  });
});

describe("exceptions", () => {
  const bad = () => { throw new TypeError("no such thing"); };

  it("are expected by class, text, members or a function", () => {
    assert.throws(bad);
    assert.throws(bad, TypeError);
    assert.throws(bad, Error);
    assert.throws(bad, /no such/);
    assert.throws(bad, { name: "TypeError", message: /thing$/ });
    assert.throws(bad, new TypeError("no such thing"));
    assert.throws(bad, (error) => error instanceof TypeError);
    assert.throws(() => { throw null; }, (error) => error === null);
  });

  it("are missing, or others", () => {
    refused(() => assert.throws(() => {}), "Missing expected exception");
    refused(() => assert.throws(() => {}, TypeError), "TypeError");
    refused(() => assert.throws(bad, /other/), "does not match");
    refused(() => assert.throws(bad, { code: 1 }), "code");
    refused(() => assert.throws(bad, () => false), "false");
    assert.throws(() => assert.throws(bad, RangeError), TypeError);
    refused(() => assert.doesNotThrow(bad), "no such thing");
    assert.doesNotThrow(() => {});
    assert.throws(() => assert.throws("text"), TypeError);
  });

  it("are those of promises, too", async () => {
    const later = async () => bad();
    await assert.rejects(later, TypeError);
    await assert.rejects(later(), /no such/);
    await assert.rejects(assert.rejects(Promise.resolve(1)), AssertionError);
    await assert.rejects(assert.rejects(() => 7), TypeError);
    await assert.doesNotReject(Promise.resolve());
    await assert.rejects(assert.doesNotReject(later), /no such thing/);
  });
});
