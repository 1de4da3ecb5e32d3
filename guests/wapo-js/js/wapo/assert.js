// Assertions: `wapo:assert`, with the functions and messages that Node's `assert` has, without what it has deprecated.
// Called by tests as a rule (`test.js`), but programs may call it as well.
import { inspect } from "../web/inspect.js";
import { has, isDeepEqual } from "./equal.js";

// Lines of two values that are compared to show where they differ; longer values are shown without that.
const DIFF_LINES_MAX = 400;
const DEPTH = 20;

export class AssertionError extends Error {
  constructor(options) {
    const { message, actual, expected, operator } = options;
    super(message === undefined ? explain(operator, actual, expected) : String(message));
    const own = { code: "ERR_ASSERTION", generatedMessage: message === undefined, actual, expected, operator };
    for (const [key, value] of Object.entries(own)) Object.defineProperty(this, key, { value, writable: true, configurable: true, enumerable: false });
  }
  get name() { return "AssertionError"; }
}

const HEADS = {
  strictEqual: "Expected values to be strictly equal", deepStrictEqual: "Expected values to be strictly deep-equal",
  equal: "Expected values to be loosely equal", deepEqual: "Expected values to be loosely deep-equal",
  notStrictEqual: 'Expected "actual" to be strictly unequal to', notDeepStrictEqual: 'Expected "actual" not to be strictly deep-equal to',
  notEqual: 'Expected "actual" to be loosely unequal to', notDeepEqual: 'Expected "actual" not to be loosely deep-equal to',
  partialDeepStrictEqual: "Expected values to be partially and strictly deep-equal",
};

const shown = (value) => inspect(value, { depth: DEPTH });

function explain(operator, actual, expected) {
  const head = HEADS[operator];
  if (head === undefined) return `${shown(actual)} ${operator} ${shown(expected)}`;
  if (operator.startsWith("not")) return `${head}: ${shown(expected)}`;
  const [one, two] = [shown(actual), shown(expected)];
  if (one === two) return `${head}, and they look the same: ${one}`;
  if (!one.includes("\n") && !two.includes("\n") && one.length + two.length < 60) return `${head}:\n\n${one} !== ${two}`;
  return `${head}:\n+ actual - expected\n\n${difference(one.split("\n"), two.split("\n")).join("\n")}`;
}

// Lines of both, those that only one of them has marked: the longest common sequence.
function difference(ones, twos) {
  if (ones.length > DIFF_LINES_MAX || twos.length > DIFF_LINES_MAX) return [...ones.slice(0, DIFF_LINES_MAX).map((l) => `+ ${l}`), ...twos.slice(0, DIFF_LINES_MAX).map((l) => `- ${l}`)];
  const width = twos.length + 1, lengths = new Uint16Array((ones.length + 1) * width);
  for (let i = ones.length - 1; i >= 0; i--) {
    for (let j = twos.length - 1; j >= 0; j--) {
      lengths[i * width + j] = ones[i] === twos[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const out = [];
  let i = 0, j = 0;
  while (i < ones.length || j < twos.length) {
    if (i < ones.length && j < twos.length && ones[i] === twos[j]) {
      out.push(`  ${ones[i++]}`);
      j++;
    } else if (j >= twos.length || (i < ones.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) out.push(`+ ${ones[i++]}`);
    else out.push(`- ${twos[j++]}`);
  }
  return out;
}

// Throws; a message that is an error is thrown itself.
function failed(message, options) {
  if (message instanceof Error) throw message;
  throw new AssertionError({ ...options, message });
}

export function ok(value, message) {
  if (value) return;
  failed(message ?? (arguments.length === 0 ? "No value was given to assert.ok()" : `Expected a true value, got ${shown(value)}`), { actual: value, expected: true, operator: "==" });
}

export function assert(value, message) {
  if (arguments.length === 0) ok();
  ok(value, message);
}

const compare = (operator, isSo) => (actual, expected, message) => {
  if (!isSo(actual, expected)) failed(message, { actual, expected, operator });
};

const isLoose = (a, b) => a == b || (a !== a && b !== b);

export const equal = compare("equal", isLoose);
export const notEqual = compare("notEqual", (a, b) => !isLoose(a, b));
export const strictEqual = compare("strictEqual", Object.is);
export const notStrictEqual = compare("notStrictEqual", (a, b) => !Object.is(a, b));
export const deepEqual = compare("deepEqual", (a, b) => isDeepEqual(a, b, false));
export const notDeepEqual = compare("notDeepEqual", (a, b) => !isDeepEqual(a, b, false));
export const deepStrictEqual = compare("deepStrictEqual", (a, b) => isDeepEqual(a, b, true));
export const notDeepStrictEqual = compare("notDeepStrictEqual", (a, b) => !isDeepEqual(a, b, true));
export const partialDeepStrictEqual = compare("partialDeepStrictEqual", has);

export function fail(message = "Failed") {
  failed(message, { operator: "fail" });
}

export function ifError(value) {
  if (value === null || value === undefined) return;
  failed(`ifError got an unwanted exception: ${value instanceof Error ? value.message : shown(value)}`, { actual: value, expected: null, operator: "ifError" });
}

const matcher = (name, wanted) => (text, regexp, message) => {
  if (!(regexp instanceof RegExp)) throw new TypeError(`${name}: the second argument must be a regular expression`);
  if (typeof text === "string" && (text.search(regexp) >= 0) === wanted) return;
  failed(message ?? `The input ${wanted ? "did not match" : "was expected not to match"} the regular expression ${regexp}: ${shown(text)}`, { actual: text, expected: regexp, operator: name });
};

export const match = matcher("match", true);
export const doesNotMatch = matcher("doesNotMatch", false);

// Whether what was thrown is what was expected; otherwise throws itself.
function check(thrown, expected, message, operator) {
  if (expected === undefined) return;
  const wrong = (text) => failed(message ?? text, { actual: thrown, expected, operator });
  if (expected instanceof RegExp) {
    if (String(thrown).search(expected) < 0) wrong(`The error does not match the regular expression ${expected}: ${shown(String(thrown))}`);
  } else if (typeof expected === "function") {
    if (expected.prototype !== undefined && thrown instanceof expected) return;
    if (expected === Error || Error.isPrototypeOf(expected)) {
      if (thrown instanceof Error) throw thrown;
      wrong(`Expected an instance of ${expected.name}, got ${shown(thrown)}`);
    }
    const answer = expected.call({}, thrown);
    if (answer !== true) wrong(`The function that validates the error answered ${shown(answer)}, not true`);
  } else if (typeof expected === "object" && expected !== null) {
    const keys = Object.keys(expected);
    if (expected instanceof Error) keys.push("message", "name");
    if (keys.length === 0) throw new TypeError(`${operator}: the object with what is expected is empty`);
    for (const key of keys) {
      const [is, wanted] = [thrown?.[key], expected[key]];
      const matches = wanted instanceof RegExp && typeof is === "string" ? is.search(wanted) >= 0 : isDeepEqual(is, wanted, true);
      if (!matches) wrong(`The error's ${key} is not what was expected:\n\n${explain("strictEqual", is, wanted)}`);
    }
  } else {
    throw new TypeError(`${operator}: expected a class, a regular expression, an object or a function`);
  }
}

// `throws(fn, "message")` has no expectation.
const shift = (expected, message) => (typeof expected === "string" ? [undefined, expected] : [expected, message]);
const missing = (what, expected, message, operator) => {
  const wanted = typeof expected === "function" && expected.name ? ` (${expected.name})` : "";
  failed(message instanceof Error ? message : `Missing expected ${what}${wanted}${message === undefined ? "." : `: ${message}`}`, { expected, operator });
};

export function throws(action, ...rest) {
  if (typeof action !== "function") throw new TypeError("throws: the first argument must be a function");
  const [expected, message] = shift(...rest);
  let thrown;
  try {
    action();
  } catch (error) {
    thrown = { error };
  }
  if (thrown === undefined) missing("exception", expected, message, "throws");
  check(thrown.error, expected, message, "throws");
}

export function doesNotThrow(action, ...rest) {
  const [, message] = shift(...rest);
  try {
    action();
  } catch (error) {
    unwanted("exception", error, message, "doesNotThrow");
  }
}

function unwanted(what, error, message, operator) {
  failed(message instanceof Error ? message : `Got unwanted ${what}${message === undefined ? "." : `: ${message}`}\nActual message: "${error?.message ?? String(error)}"`, { actual: error, operator });
}

async function promiseOf(action, operator) {
  const promise = typeof action === "function" ? action() : action;
  if (typeof promise?.then !== "function") throw new TypeError(`${operator}: expected a promise, or a function that gives one`);
  return { promise };
}

export async function rejects(action, ...rest) {
  const [expected, message] = shift(...rest);
  const { promise } = await promiseOf(action, "rejects");
  let thrown;
  try {
    await promise;
  } catch (error) {
    thrown = { error };
  }
  if (thrown === undefined) missing("rejection", expected, message, "rejects");
  check(thrown.error, expected, message, "rejects");
}

export async function doesNotReject(action, ...rest) {
  const [, message] = shift(...rest);
  const { promise } = await promiseOf(action, "doesNotReject");
  try {
    await promise;
  } catch (error) {
    unwanted("rejection", error, message, "doesNotReject");
  }
}

const common = {
  AssertionError, ok, fail, ifError, match, doesNotMatch, throws, doesNotThrow, rejects, doesNotReject, strictEqual, notStrictEqual, deepStrictEqual,
  notDeepStrictEqual, partialDeepStrictEqual,
};
Object.assign(assert, common, { equal, notEqual, deepEqual, notDeepEqual });

// All comparisons are strict.
export function strict(value, message) {
  if (arguments.length === 0) ok();
  ok(value, message);
}
Object.assign(strict, common, { equal: strictEqual, notEqual: notStrictEqual, deepEqual: deepStrictEqual, notDeepEqual: notDeepStrictEqual, strict });
assert.strict = strict;

export default assert;
