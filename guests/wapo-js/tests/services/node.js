// Modules of Node, each by what its documentation says: with and without `node:`, by import and by require.
import assertHere, { AsyncLocalStorage } from "node:async_hooks";
import { Buffer as Imported, isAscii, isUtf8, transcode } from "node:buffer";
import EventEmitter, { errorMonitor, on, once } from "events";
import path, { join } from "node:path";
import posix from "path/posix";
import querystring from "querystring";
import { Duplex, PassThrough, Readable, Transform, Writable, pipeline } from "node:stream";
import { pipeline as piped } from "node:stream/promises";
import { StringDecoder } from "string_decoder";
import timers from "node:timers";
import { scheduler, setInterval as every, setTimeout as later } from "node:timers/promises";
import url, { fileURLToPath, pathToFileURL } from "node:url";
import util, { callbackify, format, inspect, promisify, types } from "node:util";
import { createRequire } from "node:module";
import { performance as performed } from "perf_hooks";
import { rejected, service, streamOf, thrown } from "./check.js";

const utf8 = (bytes) => new TextDecoder().decode(bytes);

export default service({
  async modules(equal) {
    equal("one of each", [require("node:path") === path, require("path") === path, require("buffer").Buffer === Buffer, Imported === Buffer, require("events") === EventEmitter], [true, true, true, true, true]);
    equal("async_hooks", assertHere.AsyncLocalStorage === AsyncLocalStorage, true);
    equal("process", [(await import("process")).default === process, require("node:process") === process, require("process/browser") === process, require("buffer/").Buffer === Buffer], [true, true, true, true]);
    equal("not there", [thrown(() => require("fs")), thrown(() => require("./x.js")), thrown(() => require(5)), await rejected(import(["node", "fs"].join(":")))], ["Error", "Error", "TypeError", "TypeError"]);
    const message = (() => { try { require("node:fs"); } catch (e) { return [e.code, /"node:fs".*path, .*util/.test(e.message)]; } })();
    equal("what there is", message, ["MODULE_NOT_FOUND", true]);
    equal("globals", [global === globalThis, __dirname, typeof __filename, typeof createRequire("file:///x")("util").inspect, performed === performance], [true, "/", "string", "function", true]);
    equal("inside", [await rejected(import("wapo:boot/node/path.js")), await rejected(import("wapo:native")), thrown(() => require("../node-parts/errors"))], ["TypeError", "TypeError", "Error"]);
  },
  buffer(equal) {
    const b = Buffer.from("héllo €");
    equal("utf8", [b.length, b.toString(), b.toString("utf8", 1, 3), b instanceof Uint8Array, Buffer.isBuffer(b), Buffer.byteLength("€")], [10, "héllo €", "é", true, true, 3]);
    equal("codings", ["hex", "base64", "base64url", "latin1", "ascii", "utf16le"].map((c) => Buffer.from(Buffer.from("a?>€").toString(c), c).toString("hex")), ["613f3ee282ac", "613f3ee282ac", "613f3ee282ac", "613f3ee282ac", "613f3e62022c", "613f3ee282ac"]);
    equal("text", [b.toString("hex"), Buffer.from([251, 255]).toString("base64"), Buffer.from([251, 255]).toString("base64url"), Buffer.from("-_8", "base64").toString("hex"), Buffer.from("+/8=", "base64url").toString("hex"), Buffer.from(" Y Q = =\n", "base64").toString()], ["68c3a96c6c6f20e282ac", "+/8=", "-_8", "fbff", "fbff", "a"]);
    equal("numbers", [Buffer.from([1, 2, 3, 4]).readUInt32BE(0), Buffer.from([255, 255]).readInt16LE(0), Buffer.alloc(8).writeDoubleBE(1.5, 0), Buffer.from([0, 0, 0, 0, 0, 0, 1, 0]).readBigUInt64BE(0)], [0x01020304, -1, 8, 256n]);
    equal("beyond", [thrown(() => b.readUInt32LE(9)), thrown(() => Buffer.alloc(-1)), thrown(() => Buffer.from(5)), thrown(() => Buffer.from("x", "klingon"))], ["RangeError", "RangeError", "TypeError", "TypeError"]);
    equal("concat", Buffer.concat([Buffer.from("a"), Buffer.from("bc")], 2).toString(), "ab");
    equal("compare", [Buffer.compare(Buffer.from("a"), Buffer.from("b")), b.equals(Buffer.from("héllo €")), b.indexOf("llo"), b.includes("zz"), b.lastIndexOf("l")], [-1, true, 3, false, 4]);
    equal("shared memory", (() => { const x = Buffer.from("abc"), y = x.subarray(1); y[0] = 0x78; return [x.toString(), y.constructor === Buffer]; })(), ["axc", true]);
    equal("json", JSON.stringify(Buffer.from("hi")), '{"type":"Buffer","data":[104,105]}');
    equal("write", (() => { const x = Buffer.alloc(6, "-"); return [x.write("hé", 1), x.write("YWI", 4, "base64url"), x.toString()]; })(), [3, 2, "-héab"]);
    equal("fill", [Buffer.alloc(4, "ab").toString(), Buffer.alloc(3, "YWI=", "base64").toString()], ["abab", "aba"]);
    equal("inspect", inspect(Buffer.from("hi")), "<Buffer 68 69>");
    equal("checks", [isUtf8(Buffer.from([0xff])), isUtf8(b), isAscii(b), isAscii(Buffer.from("a")), Buffer.isEncoding("BASE64URL")], [false, true, false, true, true]);
    equal("transcode", transcode(Buffer.from("€"), "utf8", "latin1").toString("latin1"), "?");
    equal("broken text", [Buffer.from("\ud800").toString("hex"), Buffer.from([0xe2, 0x82]).toString(), Buffer.from([0xef, 0xbb, 0xbf, 0x61]).toString().length], ["efbfbd", "\ufffd", 2]);
    equal("huge", thrown(() => Buffer.alloc(2 ** 40)), "RangeError");
  },
  async events(equal) {
    const e = new EventEmitter(), seen = [];
    e.on("x", (...args) => seen.push(args));
    e.prependListener("x", () => seen.push("first"));
    e.once("x", () => seen.push("once"));
    equal("emit", [e.emit("x", 1, 2), e.emit("x"), e.emit("y"), e.listenerCount("x")], [true, true, false, 2]);
    equal("order", seen, ["first", [1, 2], "once", "first", []]);
    equal("error", [thrown(() => e.emit("error", new RangeError("x"))), thrown(() => e.emit("error", 5))], ["RangeError", "Error"]);
    const watched = [];
    e.on(errorMonitor, (error) => watched.push(error));
    thrown(() => e.emit("error", new RangeError("y")));
    equal("monitor", watched.length, 1);
    setTimeout(() => e.emit("later", 7), 1);
    equal("once", await once(e, "later"), [7]);
    setTimeout(() => e.emit("error", new RangeError("z")), 1);
    equal("once fails", await rejected(once(e, "never")), "RangeError");
    equal("once, stopped", await rejected(once(e, "never", { signal: AbortSignal.timeout(1) })), "AbortError");
    const got = [];
    setTimeout(() => { e.emit("n", 1); e.emit("n", 2); e.emit("end"); }, 1);
    for await (const [n] of on(e, "n", { close: ["end"] })) got.push(n);
    equal("on", got, [1, 2]);
    class Own extends EventEmitter {}
    equal("extended", new Own().on("a", () => {}).eventNames(), ["a"]);
    const target = new EventTarget();
    setTimeout(() => target.dispatchEvent(new Event("t")), 1);
    equal("of the web", (await once(target, "t"))[0].type, "t");
  },
  path(equal) {
    equal("join", [join("/a", "../b", "./c"), path.resolve("x", "..", "y"), path.normalize("/a//b/../c/."), path.relative("/a/b/c", "/a/d")], ["/b/c", "/y", "/a/c", "../../d"]);
    equal("parts", [path.basename("/a/b.txt", ".txt"), path.extname("a.b.c"), path.dirname("/a/b"), path.isAbsolute("a"), path.sep, posix === path], ["b", ".c", "/a", false, "/", true]);
    equal("parse", path.format(path.parse("/home/me/f.txt")), "/home/me/f.txt");
    equal("no text", thrown(() => path.join("a", 5)), "TypeError");
  },
  querystring(equal) {
    equal("parse", { ...querystring.parse("a=1&b=%20x+y&a=2&c&%zz=%e9&=v") }, { a: ["1", "2"], b: " x y", c: "", "%zz": "\ufffd", "": "v" });
    equal("other signs", { ...querystring.parse("a:1;b:2", ";", ":", { maxKeys: 1 }) }, { a: "1" });
    equal("stringify", querystring.stringify({ a: [1, true], b: "x y&é", c: null, d: NaN, e: 5n }), "a=1&a=true&b=x%20y%26%C3%A9&c=&d=&e=5");
    equal("prototype", [Object.getPrototypeOf(querystring.parse("__proto__=1")), querystring.parse("__proto__=1").__proto__], [null, "1"]);
    equal("half a character", thrown(() => querystring.escape("\ud800")), "URIError");
  },
  url(equal) {
    equal("classes", [url.URL === URL, url.URLSearchParams === URLSearchParams], [true, true]);
    const parsed = url.parse("https://me:pw@h.example:8080/p/a?x=1&y=2#z", true);
    equal("parse", [parsed.protocol, parsed.auth, parsed.host, parsed.port, parsed.pathname, { ...parsed.query }, parsed.hash], ["https:", "me:pw", "h.example:8080", "8080", "/p/a", { x: "1", y: "2" }, "#z"]);
    equal("format", [url.format({ protocol: "http", host: "a.example", pathname: "/x", query: { q: "1 2", r: ["a", "b"] } }), url.format(new URL("http://u:p@a.example/?q#f"), { auth: false, fragment: false, search: false })], ["http://a.example/x?q=1%202&r=a&r=b", "http://a.example/"]);
    equal("resolve", [url.resolve("/one/two", "three"), url.resolve("http://a.example/b", "/c")], ["/one/three", "http://a.example/c"]);
    equal("files", [fileURLToPath("file:///a%20b/c"), pathToFileURL("/a b#c%").href, thrown(() => fileURLToPath("http://x/")), thrown(() => fileURLToPath("file:///a%2Fb"))], ["/a b/c", "file:///a%20b%23c%25", "TypeError", "TypeError"]);
    equal("names", [url.domainToASCII("español.example"), url.domainToASCII("xn--iñvalid.example")], ["xn--espaol-zwa.example", ""]);
  },
  decoder(equal) {
    const d = new StringDecoder("utf8");
    equal("pieces", [d.write(Buffer.from([0xe2, 0x82])), d.write(Buffer.from([0xac, 0x61])), d.end(Buffer.from([0xe2]))], ["", "€a", "\ufffd"]);
    const b = new StringDecoder("base64");
    equal("base64", [b.write(Buffer.from("ab")), b.end(Buffer.from("c"))], ["", "YWJj"]);
    equal("unknown", thrown(() => new StringDecoder("klingon")), "Error");
  },
  async streams(equal) {
    const upper = () => new Transform({ transform(chunk, _, done) { done(null, chunk.toString().toUpperCase()); } });
    const parts = [];
    const sink = () => new Writable({ write(chunk, _, done) { parts.push(chunk.toString()); done(); } });
    await piped(Readable.from(["a", "b"]), upper(), sink());
    equal("pipeline", parts, ["A", "B"]);
    const ended = await new Promise((resolve) => pipeline(Readable.from(["c"]), new PassThrough(), sink(), (error) => resolve(error ?? null)));
    equal("with a callback", [ended, parts.at(-1)], [null, "c"]);
    const all = [];
    for await (const chunk of Readable.from([1, 2, 3]).map((n) => n * 2)) all.push(chunk);
    equal("iterated", all, [2, 4, 6]);
    const broken = new Readable({ read() { this.destroy(new RangeError("gone")); } });
    equal("an error ends it", await rejected(piped(broken, sink())), "RangeError");
    const slow = new Writable({ highWaterMark: 2, write(_, __, done) { setTimeout(done, 1); } });
    equal("back-pressure", [slow.write("abc"), slow.writableNeedDrain, await once(slow, "drain")], [false, true, []]);
    const source = Readable.fromWeb(streamOf("w", "eb")), text = [];
    for await (const chunk of source) text.push(chunk.toString());
    equal("from the web", text.join(""), "web");
    equal("to the web", await new Response(Readable.toWeb(Readable.from([Buffer.from("x"), Buffer.from("yz")]))).text(), "xyz");
    const kept = [], writable = Writable.fromWeb(new WritableStream({ write(chunk) { kept.push(utf8(chunk)); } }));
    await piped(Readable.from([Buffer.from("k")]), writable);
    equal("into the web", kept, ["k"]);
    const written = [], web = Writable.toWeb(new Writable({ write(chunk, _, done) { written.push(chunk.toString()); done(); } })).getWriter();
    await web.write(Buffer.from("v"));
    await web.close();
    equal("written from the web", written, ["v"]);
    equal("duplex", new Duplex({ read() {}, write() {} }) instanceof Readable, true);
  },
  async util(equal) {
    equal("format", [format("%s %d %i %j %O %%", "a", 1.5, "7.9", { a: 1 }, [1]), format("a", 1, { b: 2 })], ['a 1.5 7 {"a":1} [ 1 ] %', "a 1 { b: 2 }"]);
    const read = (x, done) => setTimeout(() => (x < 0 ? done(new RangeError("less")) : done(null, x + 1)), 1);
    equal("promisify", [await promisify(read)(1), await rejected(promisify(read)(-1)), await promisify(setTimeout)(1, "v")], [2, "RangeError", "v"]);
    equal("callbackify", await new Promise((resolve) => callbackify(async (x) => x * 2)(4, (error, value) => resolve([error, value]))), [null, 8]);
    function Old() {}
    function Base() {}
    Base.prototype.hi = () => "hi";
    util.inherits(Old, Base);
    equal("inherits", [new Old().hi(), Old.super_ === Base], ["hi", true]);
    equal("types", [types.isDate(new Date()), types.isRegExp(/x/), types.isPromise(Promise.resolve()), types.isMap(new Map()), types.isUint8Array(Buffer.alloc(1)), types.isDate({ __proto__: Date.prototype }), types.isAsyncFunction(async () => {}), types.isGeneratorObject((function* () {})()), types.isArrayBuffer(new ArrayBuffer(1)), types.isProxy], [true, true, true, true, true, false, true, true, true, undefined]);
    equal("own form", inspect({ [inspect.custom]: () => "mine" }), "mine");
    equal("colours", [util.styleText("red", "x"), util.stripVTControlCharacters("\u001b[31mx\u001b[39m"), thrown(() => util.styleText("nope", "x"))], ["\u001b[31mx\u001b[39m", "x", "TypeError"]);
    let told = 0;
    const old = util.deprecate(() => ++told, "old");
    equal("deprecate", [old(), old()], [1, 2]);
    equal("no function", [thrown(() => promisify(5)), thrown(() => callbackify())], ["TypeError", "TypeError"]);
    equal("console's classes", [util.TextEncoder === TextEncoder, util.TextDecoder === TextDecoder], [true, true]);
  },
  async timers(equal) {
    equal("promises", [await later(1, "x"), await scheduler.wait(1), await rejected(later(1000, 0, { signal: AbortSignal.abort() })), await rejected(later(1000, 0, { signal: AbortSignal.timeout(1) }))], ["x", undefined, "AbortError", "AbortError"]);
    let n = 0;
    for await (const v of every(1, "v")) if (v === "v" && ++n === 3) break;
    equal("interval", n, 3);
    const timer = timers.setTimeout(() => { n = -1; }, 1);
    equal("objects", [timer.unref() === timer, timer.hasRef(), typeof +timer], [true, true, "number"]);
    clearTimeout(timer);
    await later(5);
    equal("cleared by the global", n, 3);
  },
  async process(equal) {
    equal("facts", [process.env === Wapo.env, process.cwd(), Array.isArray(process.argv), process.pid, process.versions.node, typeof process.version], [true, "/", true, 1, undefined, "string"]);
    const [s, ns] = process.hrtime(), since = process.hrtime([s, ns]);
    equal("hrtime", [since[0] >= 0 && since[1] >= 0, typeof process.hrtime.bigint(), process.uptime() > 0], [true, "bigint", true]);
    const order = [];
    process.nextTick((a) => order.push(a), "tick");
    order.push("now");
    await later(1);
    equal("nextTick", [order, thrown(() => process.nextTick(5))], [["now", "tick"], "TypeError"]);
    equal("write", [process.stdout.write("a line\n"), thrown(() => process.stdout.write(5))], [true, "TypeError"]);
    const caught = [], listener = (error) => caught.push(error);
    process.on("unhandledRejection", listener).on("uncaughtException", listener);
    Promise.reject(5);
    setTimeout(() => { throw 6; }, 1);
    await later(5);
    process.off("unhandledRejection", listener).off("uncaughtException", listener);
    equal("what nobody caught", caught, [5, 6]);
    equal("refused", [thrown(() => process.chdir("/x"))], ["Error"]);
  },
});
