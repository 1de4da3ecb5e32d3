// Tests: `wapo:test`, and `node:test` under the name that programs for Node know. What registers tests is here, `test-run.js` runs
// them. Differs from Node's where that is simpler: tests of a file run one after the other, `only` counts without a flag,
// and a parent waits for its subtests.
import { Entry, addHook, begin, current, parts, root, runUnder } from "./test-run.js";
import { mock } from "./test-mock.js";

// Adds a test or a suite where it is called: in a suite, in a test that runs, else in the file. The promise is for its end.
function register(kind, args, more = {}) {
  const { name, options, fn } = parts(args);
  const parent = current();
  const entry = new Entry(kind, name, { ...options, ...more }, fn, parent);
  if (kind === "suite" && fn !== undefined) entry.collect();
  if (parent.kind === "test") return runUnder(parent, entry);
  parent.children.push(entry);
  if (parent === root) begin();
  return entry.done;
}

function registrar(kind) {
  const add = (...args) => register(kind, args);
  add.skip = (...args) => register(kind, args, { skip: true });
  add.todo = (...args) => register(kind, args, { todo: true });
  add.only = (...args) => register(kind, args, { only: true });
  return add;
}

export const test = registrar("test");
export const it = test;
export const describe = registrar("suite");
export const suite = describe;
export const { skip, todo, only } = test;

const hook = (name) => (fn, options = {}) => addHook(current(), name, fn, options);
export const before = hook("before");
export const after = hook("after");
export const beforeEach = hook("beforeEach");
export const afterEach = hook("afterEach");

export { mock };

Object.assign(test, { test, it, describe, suite, before, after, beforeEach, afterEach, mock });
export default test;
