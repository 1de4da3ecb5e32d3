// Wapo.isolateEval and Wapo.run: what comes back, what an isolate has, where it ends. The checks run once, when the program begins.
import { run as check } from "./check.js";

const start = (wish) => new Promise((resolve) => Wapo.isolateEval({ scripts: [], args: [], env: {}, polyfills: ["nodejs"], ...wish }, resolve));
const valueOf = async (code, options) => {
  const { isOk, value, error } = await Wapo.run(code, options);
  return isOk ? value : `failed: ${error}`;
};
const errorOf = async (code, options) => {
  const { isError, error } = await Wapo.run(code, options);
  return isError ? error : "none";
};
const firstLine = (text) => `${text}`.split("\n")[0];

// What a module function returns, and what must come of it: the same, as a structured clone.
const VALUES = {
  undefined: ["undefined", (v) => v === undefined],
  null: ["null", (v) => v === null],
  true: ["true", (v) => v === true],
  integer: ["42", (v) => v === 42],
  largeInteger: ["4294967295", (v) => v === 4294967295],
  negative: ["-3000000000", (v) => v === -3000000000],
  float: ["1.5", (v) => v === 1.5],
  NaN: ["NaN", (v) => Number.isNaN(v)],
  string: ["'0x1234 \\u{1f600}'", (v) => v === "0x1234 \u{1f600}"],
  bigint: ["12345678901234567890n", (v) => v === 12345678901234567890n],
  smallBigint: ["7n", (v) => v === 7n],
  array: ["[1, 'a', [true]]", (v) => JSON.stringify(v) === '[1,"a",[true]]'],
  object: ["({ a: { b: 1.25 } })", (v) => v.a.b === 1.25],
  bytes: ["new Uint8Array([1, 2, 255])", (v) => v instanceof Uint8Array && v.join() === "1,2,255"],
  words: ["new Float64Array([0.5, -1])", (v) => v instanceof Float64Array && v.join() === "0.5,-1"],
  buffer: ["new Uint8Array([9]).buffer", (v) => v instanceof ArrayBuffer && new Uint8Array(v)[0] === 9],
  date: ["new Date(5)", (v) => v instanceof Date && v.getTime() === 5],
  map: ["new Map([[1, { a: 2 }]])", (v) => v instanceof Map && v.get(1).a === 2],
  set: ["new Set(['x'])", (v) => v instanceof Set && v.has("x")],
  regexp: ["/a+/gi", (v) => v instanceof RegExp && String(v) === "/a+/gi"],
  error: ["new RangeError('wide')", (v) => v instanceof RangeError && v.message === "wide"],
  cycle: ["(() => { const a = []; a.push(a); return a; })()", (v) => v[0] === v],
  symbol: ["Symbol('s')", (v) => v === undefined],
  function: ["(() => 1)", (v) => v === undefined],
  methods: ["({ a: 1, f() {} })", (v) => v.a === 1 && v.f === undefined],
  methodsBesideOthers: ["({ d: new Date(5), m: new Map([[1, 2], [3, () => 1]]), s: new Set([4, () => 1]), f: () => 1, [Symbol.iterator]: 1, x: Symbol('s') })",
    (v) => v.d.getTime() === 5 && v.m.get(1) === 2 && v.m.size === 1 && v.s.size === 1 && !("f" in v) && !("x" in v)],
  functionsOfList: ["[1, () => 1, new Date(5)]", (v) => v.length === 3 && v[1] === undefined && v[2].getTime() === 5],
};

const areas = {
  async transfer(equal) {
    for (const [name, [expression, isRight]] of Object.entries(VALUES)) {
      const value = await valueOf(`module.exports = () => (${expression})`);
      equal(name, isRight(value) || value, true);
    }
  },

  async entries(equal) {
    equal("sync", await valueOf("module.exports = () => scriptArgs.join('-')", { args: ["a", "b"] }), "a-b");
    equal("async", await valueOf("module.exports = async () => { await 0; return [1]; }"), [1]);
    equal("timer", await valueOf("module.exports = () => new Promise((done) => setTimeout(done, 5, 'late'))"), "late");
    equal("raw output", await valueOf("globalThis.scriptOutput = 'raw'"), "raw");
    equal("late raw output", await valueOf("setTimeout(() => { globalThis.scriptOutput = 3; }, 5)"), 3);
    const [error, output, serialized] = await start({ scripts: ["var a = 2;", "module.exports = () => ({ a })"] });
    equal("list", [error, output, serialized], [null, { a: 2 }, '{"output":{"a":2}}']);
    equal("exit", await valueOf("scriptOutput = 'before'; setInterval(() => {}, 1); Wapo.exit()"), "before");
  },

  async failures(equal) {
    equal("throws", firstLine(await errorOf("throw new TypeError('no')")), "TypeError: no");
    equal("entry throws", firstLine(await errorOf("module.exports = () => { throw new Error('sync') }")), "Error: sync");
    equal("entry rejects", firstLine(await errorOf("module.exports = async () => { await 0; throw new Error('async') }")), "Error: async");
    equal("rejection", firstLine(await errorOf("Promise.reject(new Error('lost'))")), "Error: lost");
    equal("timer throws", firstLine(await errorOf("setTimeout(() => { throw new Error('timer') }, 1)")), "Error: timer");
    equal("syntax", /^SyntaxError/.test(await errorOf("let let = 1")), true);
    equal("null", await errorOf("throw null"), "null");
    equal("no clone", /DataCloneError|cloned/.test(await errorOf("scriptOutput = { w: new WeakMap(), n: 1n }")), true);
    equal("place", /<script>:2:/.test(await errorOf("\n  throw new Error('here')")), true);
    const refused = await Wapo.run("1", { polyfills: ["deno"] });
    equal("run never rejects", [refused.isError, /nodejs/.test(refused.error)], [true, true]);
    equal("an option with a mistake", /^TypeError: Wapo.run: there is no option timelimit; .*timeLimit/.test(await errorOf("1", { timelimit: 5 })), true);
    equal("a limit with a mistake", await errorOf("1", { timeLimit: "soon" }), "RangeError: Wapo.run: timeLimit is soon, and 0 is the least");
    equal("a list with a mistake", await errorOf("1", { args: "a" }), "TypeError: Wapo.run: args is a list");
  },

  async surroundings(equal) {
    equal("env", await valueOf("scriptOutput = Wapo.env.A + Object.keys(Wapo.env).length", { env: { A: 1 } }), "11");
    const gone = "isolateEval run httpListen queryListen queryReply workerSign workerPublicKey sgxQuote evidence bootData storeBootData tryLock unlock " +
      "appAddress emitOutput tip gasConsumed blobGet httpSendResponseHead";
    equal("functions of the program", await valueOf(`scriptOutput = '${gone}'.split(' ').filter((name) => name in Wapo)`), []);
    equal("its own", await valueOf("scriptOutput = Wapo.hexEncode(Wapo.hash('sha256', '')).slice(0, 6) + typeof Wapo.SCALE"), "e3b0c4object");
    equal("platform", await valueOf("module.exports = async () => new Response(new URL('/a', 'http://b.example').href).text()"), "http://b.example/a");
    equal("memory of others", await valueOf("scriptOutput = typeof globalThis.leak"), "undefined");
    equal("prototypes of others", (await valueOf("Object.prototype.leak = 1; scriptOutput = 1"), {}.leak), undefined);
    equal("memory", [Wapo.memoryStats().current > 100_000, await valueOf("scriptOutput = Wapo.memoryStats().current > 100_000")], [true, true]);
    equal("random", (await valueOf("scriptOutput = Math.random()")) !== (await valueOf("scriptOutput = Math.random()")), true);
  },

  async logs(equal) {
    const { logs } = await Wapo.run("console.warn('a', { b: 1 }); console.log('c'); scriptOutput = scriptLogs");
    equal("records", logs.map(({ level, message }) => [level, message]), [["warn", "a { b: 1 }"], ["info", "c"]]);
    equal("times", Math.abs(logs[0].time - Date.now()) < 600_000, true);
    const [, output, , text] = await start({ scripts: ["Wapo.useBufferedLogs(true); console.log('kept'); scriptOutput = JSON.parse(scriptLogs).length"] });
    equal("kept by the script", [output, JSON.parse(text)[0].message], [1, "kept"]);
    equal("not kept", (await start({ scripts: ["console.log('to the log')"] }))[3], null);
    const ended = await Wapo.run("console.log('before'); for (;;);", { timeLimit: 100 });
    equal("of one that was ended", [ended.isError, ended.logs[0].message], [true, "before"]);
    const many = await Wapo.run("for (let i = 0; i < 1000; i++) console.log('x'.repeat(10_000))");
    equal("bounded", [many.isOk, JSON.stringify(many.logs).length < 2_000_000, many.logs.at(-1).message], [true, true, "there is more, which is not kept"]);
  },

  async secrets(equal) {
    const code = "scriptOutput = Wapo.deriveSecret('p').toHex()";
    const own = await valueOf(code);
    equal("bytes", own.length, 128);
    equal("the same code has the same", own === await valueOf(code), true);
    equal("other code has others", own === await valueOf(`${code};`), false);
    equal("not the program's", own === Wapo.deriveSecret("p").toHex(), false);
    equal("worker secrets", (await valueOf("scriptOutput = Wapo.workerSecret")) === Wapo.workerSecret, false);
    const [, split] = await start({ scripts: ["", code] });
    equal("scripts are not joined", own === split, false);
  },

  async limits(equal) {
    const begun = Date.now();
    equal("time", /time limit of 200ms/.test(await errorOf("for (;;) try { for (;;); } catch {}", { timeLimit: 200 })), true);
    equal("time while it waits", /time limit of 50ms/.test(await errorOf("setInterval(() => {}, 1)", { timeLimit: 50 })), true);
    equal("time without gas", await valueOf("scriptOutput = 1", { timeLimit: 5000, gasLimit: null }), 1);
    equal("gas", await errorOf("for (;;);", { gasLimit: 20 }), "the gas limit of 20 is used up");
    equal("gas without time", await errorOf("for (;;);", { gasLimit: 20, timeLimit: null }), "the gas limit of 20 is used up");
    equal("processor time", /processor time of 150ms/.test(await errorOf("for (;;);", { cpuLimit: 150, gasLimit: null })), true);
    equal("microtasks", /processor time/.test(await errorOf("const f = () => Promise.resolve().then(f); f()", { cpuLimit: 150 })), true);
    equal("regular expression", /processor time/.test(await errorOf("/^(a+)+$/.test('a'.repeat(40) + 'b')", { cpuLimit: 150, gasLimit: null })), true);
    equal("recursion", firstLine(await errorOf("(function f() { f(); f(); })()")), "RangeError: Maximum call stack size exceeded");
    equal("recursion is caught", await valueOf("function f() { f(); } try { f(); } catch (e) { scriptOutput = e.name; }"), "RangeError");
    equal("they end in time", Date.now() - begun < 60_000, true);
    let thrown;
    try { Wapo.isolateEval({ scripts: [], args: [], env: {}, polyfills: [], memoryLimit: 1000 }, () => {}); } catch (e) { thrown = e.name; }
    equal("too little memory", thrown, "RangeError");
  },

  async natives(equal) {
    // What is not in the heap of an engine counts as well.
    const most = /waits for 1000 timers and operations, which is the most|no memory/;
    equal("timers", most.test((await Wapo.run("for (let k = 0; k < 100_000; k++) setTimeout(() => {}, 1e9)")).error), true);
    equal("as many as there may be", await valueOf("let n = 0; for (let k = 0; k < 900; k++) setTimeout(() => { scriptOutput = ++n; }, k % 7)"), 900);
    equal("cleared ones", await valueOf("for (let k = 0; k < 5_000; k++) clearTimeout(setTimeout(() => {}, 1e9)); scriptOutput = 'all'"), "all");
    const codecs = "let n = 0; const all = []; try { for (; n < 1000; n++) all.push(new CompressionStream('gzip')); } catch {} scriptOutput = n";
    const { value, error } = await Wapo.run(codecs, { memoryLimit: 8 << 20 });
    equal("codecs", [error, value > 3 && value < 24], [null, true]);
    equal("half of a pair as text", await new Promise((done) => Wapo.isolateEval({ scripts: ["serializedScriptOutput = '\\ud800'"], args: [], env: {}, polyfills: [] },
      ([error, , text]) => done([error, text]))), [null, "\ufffd"]);
  },

  async memory(equal) {
    const bombs = {
      strings: "let s = 'x'; for (;;) s += s + s;",
      arrays: "const all = []; for (;;) all.push(new Array(1000).fill(1));",
      objects: "let o = null; for (;;) o = { o };",
      buffers: "const all = []; for (;;) all.push(new Uint8Array(100_000));",
      promises: "const all = []; (async () => { for (;;) { all.push(new Array(10_000).fill({})); await 0; } })()",
      closures: "const all = []; for (let i = 0; ; i++) all.push(() => i);",
      maps: "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i });",
      classes: "const all = []; for (;;) all.push(new (class { #a = [1, 2, 3]; f() {} })());",
      regexps: "const all = []; for (let i = 0; ; i++) all.push(new RegExp('a{' + i % 1000 + '}'));",
      json: "let o = []; for (;;) o = JSON.parse(JSON.stringify([o, o, 'x'.repeat(1000)]));",
      evals: "for (let i = 0; ; i++) globalThis['f' + i] = new Function('return ' + i + '+ a'.repeat(1000));",
      errors: "const all = []; for (;;) { try { null.x; } catch (e) { all.push(e); } }",
      generators: "const all = []; function* g() { yield 1; } for (;;) { const it = g(); it.next(); all.push(it); }",
      streams: "const all = []; for (;;) all.push(new ReadableStream());",
    };
    for (const [name, code] of Object.entries(bombs)) {
      const { isError, error } = await Wapo.run(code, { memoryLimit: 4 << 20 });
      equal(name, (isError && /out of memory|used up|string too long/.test(error)) || error, true);
    }
    equal("a script may catch it", await valueOf("const all = []; try { for (;;) all.push(new Uint8Array(100_000)); } catch { all.length = 0; scriptOutput = 'caught'; }",
      { memoryLimit: 4 << 20 }), "caught");
    equal("within it", await valueOf("scriptOutput = new Uint8Array(3_000_000).length", { memoryLimit: 4 << 20 }), 3_000_000);
    equal("the least", await valueOf("scriptOutput = 'small'", { memoryLimit: 128 * 1024 }), "small");
  },

  async closing(equal) {
    const closed = await new Promise((resolve) => {
      const id = Wapo.isolateEval({ scripts: ["setInterval(() => {}, 1000)"], args: [], env: {}, polyfills: [] }, resolve);
      setTimeout(() => { Wapo.close(id); Wapo.close(id); }, 50);
    });
    equal("waiting", closed.slice(0, 2), ["the isolate was closed", undefined]);
    const busy = await new Promise((resolve) => {
      const id = Wapo.isolateEval({ scripts: ["for (;;);"], args: [], env: {}, polyfills: [] }, resolve);
      setTimeout(() => Wapo.close(id), 50);
    });
    equal("computing", busy[0], "the isolate was closed");
  },

  async crowds(equal) {
    const wish = { scripts: ["setInterval(() => {}, 1000)"], args: [], env: {}, polyfills: [] };
    const ids = [], ends = [];
    let refused = "";
    for (let i = 0; i < 40 && refused === ""; i++) {
      const { promise, resolve } = Promise.withResolvers();
      try { ids.push(Wapo.isolateEval(wish, resolve)); ends.push(promise); } catch (e) { refused = e.name; }
    }
    equal("as many as there may be", [ids.length, refused], [32, "RangeError"]);
    ids.forEach((id) => Wapo.close(id));
    equal("all end", (await Promise.all(ends)).every(([error]) => error === "the isolate was closed"), true);
    equal("and there is room again", await valueOf("scriptOutput = 1"), 1);
    const both = await Promise.all([1, 2, 3].map((n) => valueOf(`let s = 0; for (let i = 0; i < 200_000; i++) s += i; scriptOutput = ${n}`)));
    equal("beside each other", both, [1, 2, 3]);
  },
};

const checked = check(areas);
export default { fetch: async () => (await checked).clone() };
