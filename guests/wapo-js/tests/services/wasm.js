// WebAssembly: modules are written here by hand, section by section.
import { run as check, rejected, thrown } from "./check.js";

const I32 = 0x7f, I64 = 0x7e, F32 = 0x7d, F64 = 0x7c, FUNCREF = 0x70, EXTERNREF = 0x6f;
const leb = (n) => { const out = []; do { out.push((n & 127) | (n > 127 ? 128 : 0)); n >>>= 7; } while (n > 0); return out; };
const text = (s) => { const b = [...new TextEncoder().encode(s)]; return [...leb(b.length), ...b]; };
const vec = (items) => [...leb(items.length), ...items.flat()];
const section = (id, content) => [id, ...leb(content.length), ...content];
const type = (params, results) => [0x60, ...vec(params.map((p) => [p])), ...vec(results.map((r) => [r]))];
const code = (...ops) => { const body = [0, ...ops, 0x0b]; return [...leb(body.length), ...body]; };
const importing = (module, name, ...kind) => [...text(module), ...text(name), ...kind];
const exporting = (name, kind, index) => [...text(name), kind, ...leb(index)];
// Sections by their numbers: 1 types, 2 imports, 3 functions, 4 tables, 5 memories, 6 globals, 7 exports, 8 start, 9 elements, 10 code, 11 data.
const build = (sections) => new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...Object.entries(sections).flatMap(([id, content]) => section(+id, +id === 8 ? content : vec(content)))]);
const make = (sections, imports) => new WebAssembly.Instance(new WebAssembly.Module(build(sections)), imports).exports;

const ADD = { 1: [type([I32, I32], [I32])], 3: [[0]], 7: [exporting("add", 0, 0)], 10: [code(0x20, 0, 0x20, 1, 0x6a)] };
// A memory of one page at first, three at most; load, store and grow.
const MEMORY = {
  1: [type([I32], [I32]), type([I32, I32], [])], 3: [[0], [1], [0]], 5: [[1, 1, 3]],
  7: [exporting("memory", 2, 0), exporting("load", 0, 0), exporting("store", 0, 1), exporting("grow", 0, 2)],
  10: [code(0x20, 0, 0x28, 2, 0), code(0x20, 0, 0x20, 1, 0x36, 2, 0), code(0x20, 0, 0x40, 0)],
};
const LOOP = { 1: [type([], [])], 3: [[0]], 7: [exporting("spin", 0, 0)], 10: [code(0x03, 0x40, 0x0c, 0, 0x0b)] };
// Calls an import with a number and gives what it gives.
const through = (param, result) => ({
  1: [type([param], [result])], 2: [importing("env", "f", 0, 0)], 3: [[0]], 7: [exporting("call", 0, 1), exporting("same", 0, 0)],
  10: [code(0x20, 0, 0x10, 0)],
});

const areas = {
  modules(equal) {
    equal("validate", [WebAssembly.validate(build(ADD)), WebAssembly.validate(new Uint8Array(8)), WebAssembly.validate(build(ADD).buffer)], [true, false, true]);
    equal("compile error", thrown(() => new WebAssembly.Module(new Uint8Array([1, 2, 3]))), "CompileError");
    equal("no bytes", thrown(() => new WebAssembly.Module("x")), "TypeError");
    const module = new WebAssembly.Module(build(through(I32, I32)));
    equal("imports", WebAssembly.Module.imports(module), [{ module: "env", name: "f", kind: "function" }]);
    equal("exports", WebAssembly.Module.exports(module).map((e) => `${e.name} ${e.kind}`).sort(), ["call function", "same function"]);
    const custom = new Uint8Array([...build(ADD), ...section(0, [...text("note"), 7, 8])]);
    equal("sections", [...new Uint8Array(WebAssembly.Module.customSections(new WebAssembly.Module(custom), "note")[0])], [7, 8]);
    equal("tags", [String(WebAssembly), String(module), Object.prototype.toString.call(new WebAssembly.Memory({ initial: 0 }))],
      ["[object WebAssembly]", "[object WebAssembly.Module]", "[object WebAssembly.Memory]"]);
    equal("errors", [new WebAssembly.LinkError("m") instanceof Error, String(WebAssembly.RuntimeError("m")), WebAssembly.CompileError.length], [true, "RuntimeError: m", 1]);
    equal("cut anywhere", Array.from({ length: build(MEMORY).length - 1 }, (_, i) => WebAssembly.validate(build(MEMORY).slice(0, i))).filter((v) => v).length <= 12, true);
  },

  functions(equal) {
    const { add } = make(ADD);
    equal("adds", [add(1, 2), add(2 ** 31 - 1, 1), add("3", 4.9), add()], [3, -(2 ** 31), 7, 0]);
    equal("shape", [add.length, thrown(() => new add(1, 2)), typeof add], [2, "TypeError", "function"]);
    const exports = make(ADD);
    equal("identity", [exports.add === exports.add, Object.isFrozen(exports), Object.getPrototypeOf(exports)], [true, true, null]);
    for (const [name, kind, value, wanted] of [["i32", I32, -5, -5], ["i64", I64, -(2n ** 63n), -(2n ** 63n)], ["wraps", I64, 2n ** 64n + 1n, 1n],
      ["f32", F32, 0.1, Math.fround(0.1)], ["f64", F64, 0.1, 0.1], ["-0", F64, -0, -0], ["NaN", F64, NaN, NaN]]) {
      let got;
      const { call } = make(through(kind, kind), { env: { f: (v) => { got = v; return v; } } });
      equal(name, [call(value), got], [wanted, wanted]);
    }
    equal("an i64 of a number", thrown(() => make(through(I64, I64), { env: { f: (v) => v } }).call(1)), "TypeError");
    equal("an i64 that comes back as a number", thrown(() => make(through(I64, I64), { env: { f: () => 1 } }).call(1n)), "TypeError");
    const two = make({ 1: [type([], [I32, I64])], 3: [[0]], 7: [exporting("two", 0, 0)], 10: [code(0x41, 1, 0x42, 2)] });
    equal("several results", two.two(), [1, 2n]);
  },

  imports(equal) {
    const error = new Error("through");
    const { call, same } = make(through(I32, I32), { env: { f: (n) => { if (n === 0) throw error; return n * 2; } } });
    let caught;
    try { call(0); } catch (e) { caught = e; }
    equal("exceptions", [caught === error, call(4), same(5)], [true, 8, 10]);
    equal("nested", make(through(I32, I32), { env: { f: (n) => call(n) + 1 } }).call(3), 7);
    let self;
    self = make(through(I32, I32), { env: { f: (n) => (n > 0 ? self.call(n - 1) + 1 : 0) } });
    equal("into itself", self.call(20), 20);
    equal("without end", thrown(() => { const s = make(through(I32, I32), { env: { f: (n) => s.call(n) } }); s.call(1); }), "RangeError");
    equal("one world's function in another", make(through(I32, I32), { env: { f: make(through(I32, I32), { env: { f: (n) => n + 1 } }).call } }).call(4), 5);
    equal("one of another type", thrown(() => make(through(I32, I32), { env: { f: make(ADD).add } })), "LinkError");
    const missing = (imports) => thrown(() => make(through(I32, I32), imports));
    equal("what is wrong", [missing(), missing({}), missing({ env: {} }), missing({ env: { f: 1 } })], ["TypeError", "TypeError", "LinkError", "LinkError"]);
    equal("its own of another type", thrown(() => make({ 1: [type([F64], [])], 2: [importing("env", "f", 0, 0)] }, { env: { f: self.call } })), "LinkError");
  },

  start(equal) {
    const log = [];
    const sections = {
      1: [type([], [])], 2: [importing("env", "f", 0, 0)], 3: [[0], [0]], 7: [exporting("again", 0, 1)], 8: [2],
      10: [code(0x10, 0), code(0x10, 0, 0x10, 0)],
    };
    const exports = make(sections, { env: { f: () => log.push("called") } });
    exports.again();
    equal("called before the exports are there", [log.length, Object.keys(exports)], [3, ["again"]]);
    const module = new WebAssembly.Module(build(sections));
    equal("it is no export", WebAssembly.Module.exports(module).map((e) => e.name), ["again"]);
    equal("an exception in it", thrown(() => make(sections, { env: { f: () => { throw new URIError("s"); } } })), "URIError");
    equal("a trap in it", thrown(() => make({ 1: [type([], [])], 3: [[0]], 8: [0], 10: [code(0x00)] })), "RuntimeError");
    equal("of a wrong type", WebAssembly.validate(build({ 1: [type([I32], [])], 3: [[0]], 8: [0], 10: [code()] })), false);
  },

  memories(equal) {
    const { memory, load, store, grow } = make(MEMORY);
    const first = memory.buffer, bytes = new Uint8Array(first);
    store(8, 0x01020304);
    equal("written by the module", [...bytes.subarray(8, 12)], [4, 3, 2, 1]);
    new DataView(first).setUint32(16, 7, true);
    equal("written by the script", load(16), 7);
    equal("the same buffer", [memory.buffer === first, first.byteLength], [true, 65536]);
    equal("grown by the module", [grow(1), first.byteLength, bytes.length, first.detached], [1, 0, 0, true]);
    equal("another buffer", [memory.buffer === first, memory.buffer.byteLength, load(16), new Uint8Array(memory.buffer)[8]], [false, 131072, 7, 4]);
    const second = memory.buffer;
    equal("grown by the script", [memory.grow(1), second.byteLength, memory.buffer.byteLength], [2, 0, 196608]);
    equal("beyond its maximum", [grow(1), thrown(() => memory.grow(1))], [-1, "RangeError"]);
    const third = memory.buffer;
    equal("by nothing", [memory.grow(0), third.byteLength, memory.buffer.byteLength], [3, 0, 196608]);
    equal("out of bounds", thrown(() => load(196608)), "RuntimeError");
    equal("descriptors", [thrown(() => new WebAssembly.Memory({})), thrown(() => new WebAssembly.Memory({ initial: 2, maximum: 1 })),
      thrown(() => new WebAssembly.Memory({ initial: 70_000 })), thrown(() => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }))],
    ["TypeError", "RangeError", "TypeError", "TypeError"]);
  },

  sharedMemories(equal) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const view = new Uint8Array(memory.buffer);
    view[3] = 9;
    const peek = { 1: [type([I32], [I32])], 2: [importing("m", "m", 2, 0, 1)], 3: [[0]], 7: [exporting("peek", 0, 0), exporting("m", 2, 0)], 10: [code(0x20, 0, 0x2d, 0, 0)] };
    const a = make(peek, { m: { m: memory } }), b = make(peek, { m: { m: a.m } });
    equal("one memory", [a.peek(3), b.peek(3), a.m === memory, view.length], [9, 9, true, 65536]);
    view[3] = 10;
    equal("still", [a.peek(3), b.peek(3)], [10, 10]);
    equal("a memory that is too small", thrown(() => make({ ...peek, 2: [importing("m", "m", 2, 0, 5)] }, { m: { m: memory } })), "LinkError");
    equal("none", thrown(() => make(peek, { m: { m: {} } })), "LinkError");
  },

  hostileBuffers(equal) {
    const { memory, load, grow } = make(MEMORY);
    equal("transfer", ["transfer", "transferToFixedLength", "transferToImmutable"].map((name) => thrown(() => memory.buffer[name]())), ["TypeError", "TypeError", "TypeError"]);
    equal("structuredClone", thrown(() => structuredClone(memory.buffer, { transfer: [memory.buffer] })), "TypeError");
    equal("what is no memory's", [new ArrayBuffer(3).transfer().byteLength, ArrayBuffer.prototype.transfer.length], [3, 0]);
    // A script that takes the check away has a buffer that cannot be detached: the instance runs no more.
    const { has } = WeakSet.prototype, other = make(MEMORY);
    WeakSet.prototype.has = () => false;
    const taken = other.memory.buffer.transfer();
    WeakSet.prototype.has = has;
    equal("without the check", [thrown(() => other.grow(1)), thrown(() => other.memory.grow(1)), thrown(() => other.load(0)), taken.byteLength], ["RuntimeError", "RuntimeError", "RuntimeError", 65536]);
    equal("in the middle of a call", (() => {
      const sections = { ...MEMORY, 1: [...MEMORY[1], type([], [])], 2: [importing("env", "f", 0, 2)], 3: [[2]], 7: [exporting("memory", 2, 0), exporting("run", 0, 1)],
        10: [code(0x10, 0, 0x41, 1, 0x40, 0, 0x1a)] };
      const it = make(sections, { env: { f: () => { try { it.memory.buffer.transfer(); } catch {} } } });
      return ["none", "RuntimeError"].includes(thrown(() => it.run()));
    })(), true);
    const views = Array.from({ length: 50 }, () => make(MEMORY).memory.buffer);
    equal("buffers outlive their instances", views.every((buffer) => new Uint8Array(buffer).fill(1).length === 65536), true);
    grow(1);
    equal("resize", thrown(() => memory.buffer.resize(1)), "TypeError");
  },

  // A script that puts its own functions in the place of the language's learns nothing by which it could have a second buffer of a
  // memory, of which the first would not be told that the memory has moved.
  replaced(equal) {
    const { load, memory } = make(MEMORY), module = new WebAssembly.Module(build(through(I32, I32)));
    const { apply } = Reflect, seen = [], restore = [];
    for (const owner of [Array.prototype, Map.prototype, WeakSet.prototype, Function.prototype, Object, Reflect]) {
      for (const name of Object.getOwnPropertyNames(owner)) {
        const original = owner === Function.prototype && name === "caller" ? undefined : Object.getOwnPropertyDescriptor(owner, name).value;
        if (typeof original !== "function" || name === "constructor") continue;
        restore[restore.length] = () => { owner[name] = original; };
        owner[name] = function (...given) {
          if (seen.length < 5_000) { seen[seen.length] = this; for (let i = 0; i < given.length; i++) seen[seen.length] = given[i]; }
          return apply(original, this, given);
        };
      }
    }
    let made, grown;
    try {
      made = new WebAssembly.Instance(module, { env: { f: load } }).exports;
      grown = memory.grow(1);
      WebAssembly.Module.imports(module);
      made.call(4);
    } finally {
      for (let i = 0; i < restore.length; i++) restore[i]();
    }
    const found = seen.flatMap((value) => {
      try { return typeof value === "function" && value !== load ? [value, value(load)] : [value]; } catch { return [value]; }
    });
    const isInner = (value) => Object(value) === value && ["handle", "roots", "wrap", "buffers", "imports", "idOf"].some((name) => name in value);
    equal("nothing of the inside", [seen.length > 0, found.filter(isInner).length], [true, 0]);
    equal("it works", [grown, made.call(0), memory.buffer === memory.buffer, memory.buffer.byteLength], [1, 0, true, 131072]);
  },

  tables(equal) {
    const table = new WebAssembly.Table({ element: "anyfunc", initial: 2 });
    equal("empty", [table.length, table.get(0), thrown(() => table.get(2)), thrown(() => table.set(0, () => 1))], [2, null, "RangeError", "TypeError"]);
    // Calls the function at a place of the table, with seven.
    const caller = {
      1: [type([I32], [I32]), type([I32], [I32])], 2: [importing("t", "t", 1, FUNCREF, 0, 1)], 3: [[0], [0]],
      7: [exporting("at", 0, 0), exporting("double", 0, 1), exporting("t", 1, 0)],
      10: [code(0x41, 7, 0x20, 0, 0x11, 0, 0), code(0x20, 0, 0x20, 0, 0x6a)],
    };
    const { at, double, t } = make(caller, { t: { t: table } });
    table.set(1, double);
    equal("calls", [at(1), table.get(1) === double, t === table, thrown(() => at(0))], [14, true, true, "RuntimeError"]);
    equal("grows", [table.grow(2, double), table.length, at(3)], [2, 4, 14]);
    const values = new WebAssembly.Table({ element: "externref", initial: 1 }, "first");
    const object = {};
    values.grow(1, object);
    equal("values", [values.get(0), values.get(1) === object, values.get(1) === object], ["first", true, true]);
    equal("too large", thrown(() => new WebAssembly.Table({ element: "externref", initial: 2 ** 31 })), "RangeError");
  },

  globals(equal) {
    const global = new WebAssembly.Global({ value: "i64", mutable: true }, 5n);
    global.value = 6n;
    equal("values", [global.value, global.valueOf(), thrown(() => { global.value = 1; })], [6n, 6n, "TypeError"]);
    equal("constant", thrown(() => { new WebAssembly.Global({ value: "i32" }, 1).value = 2; }), "TypeError");
    equal("defaults", [new WebAssembly.Global({ value: "f64" }).value, new WebAssembly.Global({ value: "externref" }).value], [0, undefined]);
    const reads = (mutable) => ({ 1: [type([], [I64])], 2: [importing("g", "g", 3, I64, mutable)], 3: [[0]], 7: [exporting("read", 0, 0), exporting("g", 3, 0)], 10: [code(0x23, 0)] });
    const shared = make(reads(1), { g: { g: global } });
    global.value = 7n;
    equal("shared", [shared.read(), shared.g === global, make(reads(0), { g: { g: 8n } }).read()], [7n, true, 8n]);
    equal("wrong", [thrown(() => make(reads(0), { g: { g: 8 } })), thrown(() => make(reads(1), { g: { g: 8n } })), thrown(() => make(reads(0), { g: { g: global } }))],
      ["LinkError", "LinkError", "LinkError"]);
  },

  references(equal) {
    const echo = { 1: [type([EXTERNREF], [EXTERNREF])], 2: [importing("env", "f", 0, 0)], 3: [[0]], 7: [exporting("call", 0, 1)], 10: [code(0x20, 0, 0x10, 0)] };
    const object = {};
    const { call } = make(echo, { env: { f: (v) => v } });
    equal("values", [call(object) === object, call(null), call(undefined), call("x"), call(1n)], [true, null, undefined, "x", 1n]);
  },

  traps(equal) {
    const traps = { unreachable: [0x00], division: [0x41, 1, 0x41, 0, 0x6d, 0x1a], conversion: [0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0xaa, 0x1a] };
    for (const [name, ops] of Object.entries(traps)) {
      const { f } = make({ 1: [type([], [])], 3: [[0]], 7: [exporting("f", 0, 0)], 10: [code(...ops)] });
      equal(name, [thrown(f), thrown(f)], ["RuntimeError", "RuntimeError"]);
    }
    const deep = make({ 1: [type([], [])], 3: [[0]], 7: [exporting("f", 0, 0)], 10: [code(0x10, 0)] });
    equal("recursion", [thrown(deep.f), thrown(deep.f)], ["RangeError", "RangeError"]);
  },

  // Functions are translated when they are called first: one that is large, or that comes when there is nearly no time left until the
  // next look at the limits, is called like others.
  large(equal) {
    const long = (count) => { const body = [0, ...Array.from({ length: count }, () => [0x41, 0, 0x1a]).flat(), 0x0b]; return [...leb(body.length), ...body]; };
    const { f } = make({ 1: [type([], [])], 3: [[0]], 7: [exporting("f", 0, 0)], 10: [long(24_000)] });
    equal("a large one", [thrown(f), thrown(f)], ["none", "none"]);
    const after = build({ 1: [type([I32], []), type([], [])], 3: [[0], [1]], 7: [exporting("f", 0, 0)],
      10: [code(0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x10, 1), long(3_300)] });
    const failed = [];
    for (let turns = 1000; turns < 60_000; turns += 1500) {
      try { new WebAssembly.Instance(new WebAssembly.Module(after)).exports.f(turns); } catch (e) { failed.push(`${turns}: ${e}`); }
    }
    equal("after a loop of any length", failed, []);
  },

  async promises(equal) {
    const { module, instance } = await WebAssembly.instantiate(build(ADD));
    equal("instantiate", [instance.exports.add(1, 1), module instanceof WebAssembly.Module, instance instanceof WebAssembly.Instance], [2, true, true]);
    equal("of a module", (await WebAssembly.instantiate(module)).exports.add(2, 2), 4);
    equal("compile", (await WebAssembly.compile(build(ADD))) instanceof WebAssembly.Module, true);
    equal("rejections", [await rejected(WebAssembly.compile(new Uint8Array(3))), await rejected(WebAssembly.instantiate("x")), await rejected(WebAssembly.instantiate(build(through(I32, I32)), { env: {} }))],
      ["CompileError", "TypeError", "LinkError"]);
    const response = (type) => new Response(build(ADD), { headers: { "content-type": type } });
    equal("streaming", (await WebAssembly.instantiateStreaming(response("application/wasm"))).instance.exports.add(3, 3), 6);
    equal("streaming, a promise", (await WebAssembly.compileStreaming(Promise.resolve(response("application/wasm;x=1")))) instanceof WebAssembly.Module, true);
    equal("streaming, another type", await rejected(WebAssembly.compileStreaming(response("text/html"))), "TypeError");
    equal("streaming, a failure", await rejected(WebAssembly.compileStreaming(new Response("", { status: 404 }))), "TypeError");
  },

  async inIsolates(equal) {
    const bytes = (sections) => `new Uint8Array(${JSON.stringify([...build(sections)])})`;
    const instance = (sections) => `new WebAssembly.Instance(new WebAssembly.Module(${bytes(sections)})).exports`;
    const run = async (code, options) => { const { error, value } = await Wapo.run(code, options); return error ?? value; };
    equal("they have it", await run(`scriptOutput = ${instance(ADD)}.add(2, 3)`), 5);
    equal("a loop, by gas", await run(`${instance(LOOP)}.spin()`, { gasLimit: 200 }), "the gas limit of 200 is used up");
    equal("a loop, by time", /time limit/.test(await run(`for (;;) try { ${instance(LOOP)}.spin() } catch {}`, { timeLimit: 150, gasLimit: null })), true);
    equal("a loop, by processor time", /processor time/.test(await run(`${instance(LOOP)}.spin()`, { cpuLimit: 150, gasLimit: null })), true);
    const grows = { ...MEMORY, 5: [[0, 1]] };
    equal("memory", await run(`const { grow } = ${instance(grows)}; let n = 0; while (grow(1) >= 0) n++; scriptOutput = n < 70`, { memoryLimit: 4 << 20 }), true);
    equal("memory of many", /out of memory|no memory/.test(await run("const all = []; for (;;) all.push(new WebAssembly.Memory({ initial: 5 }))", { memoryLimit: 4 << 20 })), true);
  },

  collected(equal) {
    // A megabyte each: they have to go when nobody has them any more, although each has a function that names its instance.
    for (let i = 0; i < 1500; i++) {
      let it;
      it = make({ ...through(I32, I32), 5: [[0, 16]] }, { env: { f: () => Object.keys(it).length } });
      if (i % 500 === 0) equal(`instance ${i}`, it.call(1), 2);
    }
  },
};

const checked = check(areas);
export default { fetch: async () => (await checked).clone() };
