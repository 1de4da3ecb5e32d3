// Runs tests and tells of them, in lines for `wapo test` (`native.session`), else in the log. Called by `test.js` alone.
//
// A test has a budget of its own: as much time by the clock as of the processor. One that computes without end is stopped in
// the engine, one that never answers is left behind; the others go on either way.
import native from "wapo:native";
import { ownFrames, safeInspect } from "../web/inspect.js";
import { isInterrupted } from "../web/report.js";
import * as assert from "./assert.js";
import { whenLoaded } from "./loaded.js";
import * as session from "./session.js";
import { MockTracker } from "./test-mock.js";

const INFO = 2, ERROR = 4;
// Time of a test where neither it nor the command says how long: a unit test that takes longer hangs.
const LIMIT_MS = 10_000;
// Characters of a failure and of a name that are told.
const FAILURE_MAX = 10_000;
const NAME_MAX = 300;

const options = session.options();
const limitDefault = options?.limit ?? LIMIT_MS;
const filter = pattern(options?.filter);

// A text, or a regular expression between slashes.
function pattern(text) {
  if (typeof text !== "string") return null;
  const parts = /^\/(.*)\/([a-z]*)$/.exec(text);
  if (parts !== null) return (name) => new RegExp(parts[1], parts[2]).test(name);
  return (name) => name.includes(text);
}

export class Entry {
  constructor(kind, name, options, fn, parent) {
    Object.assign(this, { kind, name: String(name), options, fn, parent });
    this.depth = parent === null ? -1 : parent.depth + 1;
    this.path = parent === null ? [] : [...parent.path, this.name];
    this.children = [];
    this.hooks = { before: [], after: [], beforeEach: [], afterEach: [] };
    // Ends a running test with a failure.
    this.stop = null;
    this.budget = null;
    // The first error of a running test that nobody caught.
    this.loose = null;
    this.subtests = Promise.resolve();
    this.failedInside = 0;
    this.mock = null;
    this.isOver = false;
    hasOnly ||= !!options.only;
    this.done = new Promise((resolve) => { this.settle = resolve; });
  }

  get fullName() { return this.path.join(" > "); }

  // Has a suite's function register what is in it.
  collect() {
    const outer = collecting;
    collecting = this;
    try {
      const answer = this.fn.call(undefined, { name: this.name, fullName: this.fullName });
      if (typeof answer?.then === "function") {
        answer.then(undefined, () => {});
        throw new TypeError("the function of a suite must not be asynchronous: prepare things in before()");
      }
    } catch (error) {
      this.broken = { error };
    } finally {
      collecting = outer;
    }
  }
}

// Whether some test is marked: the others are left out then.
let hasOnly = false;
export const root = new Entry("suite", "", {}, undefined, null);
let collecting = null;
let hasLoaded = false;
const isLoaded = new Promise((resolve) => {
  whenLoaded(() => {
    hasLoaded = true;
    resolve();
  });
});
// Tests that run, the innermost last.
const running = [];

// What a test that is registered now belongs to. While the file is evaluated, that is the file: tests may run already.
export function current() {
  return collecting ?? (hasLoaded ? running.at(-1) : undefined) ?? root;
}

// `test(name?, options?, function?)`.
export function parts(args) {
  const rest = [...args];
  const name = typeof rest[0] === "string" ? rest.shift() : undefined;
  const options = typeof rest[0] === "object" && rest[0] !== null ? rest.shift() : {};
  const fn = typeof rest[0] === "function" ? rest[0] : undefined;
  return { name: name ?? options.name ?? (fn?.name || "<anonymous>"), options, fn };
}

export function addHook(entry, name, fn, options) {
  if (typeof fn !== "function") throw new TypeError(`${name}: expected a function`);
  entry.hooks[name].push({ fn, options });
}

let hasBegun = false;

// Begins when the file is evaluated, or waits for a test of its own.
export function begin() {
  if (hasBegun) return;
  hasBegun = true;
  for (const type of ["error", "unhandledrejection"]) addEventListener(type, (event) => uncaught(event, event.error ?? event.reason));
  whenLoaded(() => native.budget.soon(start));
  // A file that awaits its tests has others behind them.
  native.timers.set(0, () => native.budget.soon(start));
}

function uncaught(event, error) {
  event.preventDefault();
  // The budget that has ended says it better.
  if (isInterrupted(error)) return;
  const test = running.at(-1);
  if (test === undefined) return void strays.push(error);
  // Its function may have come to its end already: then it fails all the same.
  test.loose ??= { error };
  test.stop?.(error);
}
const strays = [];

let isStarted = false;

async function start() {
  if (isStarted) return;
  isStarted = true;
  let state = await hooks(root, "before");
  for (let at = 0; ; at++) {
    if (at >= root.children.length) {
      await isLoaded;
      if (at >= root.children.length) break;
    }
    // Told by an instance that has ended in the middle.
    if (at < (options?.from ?? 0)) continue;
    if (state !== null) tell(root.children[at], "fail", 0, state.error);
    else await run(root.children[at], at);
  }
  state ??= await hooks(root, "after");
  // Rejections that nobody handles are told at the end of a turn.
  await new Promise((resolve) => native.timers.set(0, () => native.budget.soon(resolve)));
  if (state === null && strays.length > 0) state = { error: strays[0] };
  if (state !== null) report({ event: "failed", text: describe(state.error) });
  report({ event: "done", left: counts.left });
  if (options === null) native.log.message(counts.failed > 0 || state !== null ? ERROR : INFO, `tests: ${counts.passed} passed, ${counts.failed} failed`);
  native.worker.exit(counts.failed > 0 || state !== null ? 1 : 0);
}

// Whether a test is wanted: by its name, or because one around it is.
function isWanted(entry) {
  const is = (asked) => isAround(entry, asked) || isInside(entry, asked);
  return (filter === null || is((one) => filter(one.fullName))) && (!hasOnly || is((one) => !!one.options.only));
}

const isAround = (entry, asked) => entry !== root && (asked(entry) || isAround(entry.parent, asked));
const isInside = (entry, asked) => entry.children.some((child) => asked(child) || isInside(child, asked));

const counts = { passed: 0, failed: 0, left: 0 };

const leaves = (entry) => (entry.kind === "test" ? 1 : entry.children.reduce((sum, child) => sum + leaves(child), 0));

// Runs a test or a suite; `top` is its number in the file, of one at its top.
async function run(entry, top) {
  if (entry.parent.kind === "suite" && !isWanted(entry)) {
    counts.left += leaves(entry);
    return entry.settle();
  }
  const limit = entry.kind === "test" ? limitOf(entry.options) : null;
  report({ event: "begin", top, kind: entry.kind, name: entry.name, depth: entry.depth, limit: Number.isFinite(limit) ? limit : null });
  const began = native.time.now();
  let outcome = { state: "pass" };
  if (entry.options.skip) outcome = { state: "skip", reason: reason(entry.options.skip) };
  else if (entry.kind === "suite") outcome = await runSuite(entry);
  else if (entry.fn === undefined) outcome = { state: entry.options.todo ? "todo" : "pass", reason: reason(entry.options.todo) };
  else outcome = await runTest(entry, limit);
  tell(entry, outcome.state, native.time.now() - began, outcome.error, outcome.reason);
  entry.settle();
}

const reason = (value) => (typeof value === "string" ? value : undefined);

function limitOf(options) {
  const ms = options.timeout ?? limitDefault;
  return typeof ms === "number" && ms > 0 ? ms : Infinity;
}

async function runSuite(suite) {
  if (suite.broken) return { state: "fail", error: suite.broken.error };
  let broken = await hooks(suite, "before");
  if (broken === null) for (const child of suite.children) await run(child);
  broken = (await hooks(suite, "after")) ?? broken;
  if (broken !== null) return { state: "fail", error: broken.error };
  return { state: suite.failedInside > 0 ? "inside" : "pass" };
}

async function runTest(test, limit) {
  const context = new TestContext(test);
  let broken = null;
  running.push(test);
  try {
    for (const outer of outwards(test.parent).reverse()) broken ??= await hooks(outer, "beforeEach", context);
    broken ??= await body(test, context, limit);
    await test.subtests;
    broken ??= planned(test);
    // These clean up, so they run in any case.
    const late = [await hooks(test, "after", context)];
    for (const outer of outwards(test.parent)) late.push(await hooks(outer, "afterEach", context));
    for (const outcome of late) broken ??= outcome;
    broken ??= test.loose;
  } finally {
    running.splice(running.indexOf(test), 1);
    test.isOver = true;
    test.mock?.restoreAll();
  }
  if (test.skipped) return { state: "skip", reason: reason(test.skipped) };
  const todo = test.options.todo ?? test.todo;
  if (todo) return { state: "todo", reason: reason(todo), error: broken?.error };
  if (broken !== null) return { state: "fail", error: broken.error };
  return { state: test.failedInside > 0 ? "inside" : "pass" };
}

function outwards(entry) {
  return entry === null ? [] : [entry, ...outwards(entry.parent)];
}

function planned(test) {
  if (test.plan === undefined || test.plan === test.assertions) return null;
  return { error: new assert.AssertionError({ message: `${test.plan} assertions were planned, ${test.assertions ?? 0} made` }) };
}

// Runs a test's function; `null`, or what it failed with.
async function body(test, context, limit) {
  const outcome = await within(limit, (budget, stop) => {
    test.budget = budget;
    test.stop = (error) => stop(error);
    return test.fn.length < 2 ? test.fn.call(context, context) : new Promise((resolve, reject) => {
      test.fn.call(context, context, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
  });
  test.stop = test.budget = null;
  if (outcome?.error instanceof TimeoutError) context.abort(outcome.error);
  return outcome;
}

async function hooks(entry, name, context = undefined) {
  for (const { fn, options } of entry.hooks[name]) {
    const broken = await within(limitOf(options), () => (fn.length < 2 ? fn.call(undefined, context) : new Promise((resolve, reject) => {
      fn.call(undefined, context, (error) => (error ? reject(error) : resolve()));
    })));
    if (broken !== null) return broken;
  }
  return null;
}

// Runs a function within a budget; the promise is `null`, or `{ error }`. What goes on afterwards is on time of its own.
function within(limit, action) {
  return new Promise((resolve) => {
    let isOver = false;
    const end = (outcome) => {
      if (isOver) return;
      isOver = true;
      native.budget.soon(() => {
        budget.close();
        // What comes next begins in a poll of its own: the host counts the time of a poll from its start.
        native.timers.set(0, () => native.budget.soon(() => resolve(outcome)));
      });
    };
    const stop = (error) => end({ error });
    const budget = native.budget.open(limit, (what) => {
      stop(new TimeoutError(what === "clock" ? `it was not over after ${limit} ms` : `it has computed for ${limit} ms without coming to an end`));
    });
    budget.enter(() => {
      new Promise((resolve) => resolve(action(budget, stop))).then(() => end(null), (error) => {
        if (!isInterrupted(error)) stop(error);
      });
    });
  });
}

class TimeoutError extends Error {
  constructor(message) {
    super(message);
    this.stack = "";
  }
  get name() { return "TimeoutError"; }
}

// Runs a subtest of a test that runs, after those before it. The parent goes on at its own cost.
export function runUnder(parent, entry) {
  if (parent.isOver) throw new Error(`the test "${parent.fullName}" is over and takes no subtests`);
  const turn = parent.subtests.then(() => run(entry));
  parent.subtests = turn;
  return new Promise((resolve) => {
    turn.then(() => (parent.budget === null ? resolve() : parent.budget.enter(resolve)));
  });
}

// What a test's function gets.
class TestContext {
  #test;
  #controller = new AbortController();
  constructor(test) {
    this.#test = test;
    this.assert = counted(test);
  }
  get name() { return this.#test.name; }
  get fullName() { return this.#test.fullName; }
  get signal() { return this.#controller.signal; }
  get mock() { return (this.#test.mock ??= new MockTracker()); }
  test(...args) {
    const { name, options, fn } = parts(args);
    this.#test.assertions = (this.#test.assertions ?? 0) + 1;
    return runUnder(this.#test, new Entry("test", name, options, fn, this.#test));
  }
  abort(reason) { this.#controller.abort(reason); }
  skip(reason = true) { this.#test.skipped = reason; }
  todo(reason = true) { this.#test.todo = reason; }
  plan(count) { this.#test.plan = count; }
  diagnostic(text) { report({ event: "note", depth: this.#test.depth, text: cut(String(text), FAILURE_MAX) }); }
  before(fn, options = {}) { return within(limitOf(options), () => fn(this)); }
  after(fn, options = {}) { addHook(this.#test, "after", fn, options); }
  beforeEach(fn, options = {}) { addHook(this.#test, "beforeEach", fn, options); }
  afterEach(fn, options = {}) { addHook(this.#test, "afterEach", fn, options); }
}

// The assertions, counted for `plan`.
function counted(test) {
  const out = {};
  for (const [name, member] of Object.entries(assert.default)) {
    if (typeof member !== "function" || name === "AssertionError" || name === "strict") continue;
    out[name] = (...args) => {
      test.assertions = (test.assertions ?? 0) + 1;
      return member(...args);
    };
  }
  return out;
}

function tell(entry, state, ms, error, reason) {
  // A parent whose own part is well has failed all the same, but there is nothing more to say about it.
  const isFailed = state === "fail" || state === "inside";
  if (isFailed && entry.parent !== null) entry.parent.failedInside++;
  if (isFailed && (entry.kind === "test" || state === "fail")) counts.failed++;
  if (state === "pass" && entry.kind === "test") counts.passed++;
  const text = error === undefined && state !== "fail" ? undefined : describe(error);
  const tests = entry.kind === "test" ? 1 : state === "skip" ? leaves(entry) : 0;
  const path = entry.path.map((name) => cut(name, NAME_MAX));
  report({ event: "end", kind: entry.kind, tests, depth: entry.depth, path, state, ms: Math.round(ms * 1000) / 1000, reason, error: text });
}

// A failure for people: assertions without their members, which the message has.
function describe(error) {
  if (!(error instanceof assert.AssertionError) && !(error instanceof TimeoutError)) return cut(safeInspect(error), FAILURE_MAX);
  const stack = ownFrames(String(error.stack ?? "").trimEnd());
  return cut(`${error.name}: ${error.message}`, FAILURE_MAX - 1000) + (stack === "" ? "" : `\n${cut(stack, 1000)}`);
}

function cut(text, max) {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

function report(event) {
  if (options !== null) return session.report(event, event.event === "end" ? "error" : "text");
  if (event.event === "end") native.log.message(event.error ? ERROR : INFO, `${event.state} ${event.path.join(" > ")}${event.error ? `\n${event.error}` : ""}`);
}
