// fetch() and EventSource against this service itself: coding, redirects, uploads, aborting, and answers that break.
// Fetch 4.4 and 5.6, HTML 9.2. Its own address is taken from the request.
import { rejected, run, streamOf, wait } from "./check.js";

const gone = [];
const packed = async (text) => new Response(new Response(text).body.pipeThrough(new CompressionStream("gzip")), { headers: { "content-encoding": "gzip" } });
const to = (location, status = 307) => new Response(null, { status, headers: { location } });

const ROUTES = {
  "/gzip": () => packed("packed ".repeat(1000)),
  "/badgzip": () => new Response("nope", { headers: { "content-encoding": "gzip" } }),
  "/unknown": () => new Response("raw", { headers: { "content-encoding": "zzz" } }),
  "/cut": () => {
    let n = 0;
    return new Response(new ReadableStream({ async pull(c) { if (n++ > 0) throw new Error("cut"); c.enqueue(new Uint8Array([97])); } }));
  },
  "/same": () => to("/echo#frag"),
  "/file": () => to("file:///etc/passwd"),
  "/nowhere": () => new Response("stays", { status: 302 }),
  "/204": () => new Response(null, { status: 204 }),
  "/cookies": () => new Response("", { headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]] }),
  "/hang": (request) => new Promise(() => { request.signal.addEventListener("abort", () => gone.push(request.signal.reason.name)); }),
  "/events": () => new Response(new ReadableStream({
    async start(c) {
      const send = (s) => c.enqueue(new TextEncoder().encode(s));
      send("retry: 20\n\nid: 7\nevent: e\nda");
      await wait(20);
      send("ta: one\r");
      send("\ndata: two\r\n\r\ndata\n\n:c\ndata: lost");
      c.close();
    },
  }), { headers: { "content-type": "text/event-stream;charset=utf-8" } }),
  "/echo": async (request) => Response.json({
    method: request.method, search: new URL(request.url).search, headers: Object.fromEntries(request.headers), body: await request.text(),
  }),
};

const areas = {
  async requests(equal, { url }) {
    const json = async (path, init) => (await fetch(new URL(path, url), init)).json();
    const e = await json("/echo?q#h", { headers: { "X-A": "b" } });
    equal("what goes out", [e.method, e.search, e.headers["x-a"], e.headers["user-agent"], e.headers.accept], ["GET", "?q", "b", navigator.userAgent, "*/*"]);
    equal("a stream", (await json("/echo", { method: "POST", body: streamOf("a", "b"), duplex: "half" })).body, "ab");
    equal("a body that is not there", (await json("/echo", { method: "POST" })).headers["content-length"], "0");
    const bad = (body) => rejected(fetch(new URL("/echo", url), { method: "POST", body, duplex: "half" }));
    equal("a stream of text", await bad(new ReadableStream({ start(c) { c.enqueue("s"); c.close(); } })), "TypeError");
    equal("a stream that fails", await bad(new ReadableStream({ start(c) { c.error(new Error("x")); } })), "TypeError");
    equal("no argument", await rejected(fetch()), "TypeError");
  },
  async answers(equal, { url }) {
    const get = (path, init) => fetch(new URL(path, url), init);
    equal("gzip", (await (await get("/gzip")).text()).length, 7000);
    equal("what is not gzip", await rejected(get("/badgzip").then((r) => r.text())), "TypeError");
    equal("an unknown coding", await (await get("/unknown")).text(), "raw");
    equal("cut", await rejected(get("/cut").then((r) => r.text())), "TypeError");
    equal("cut, read piece by piece", await rejected((async () => { for await (const _ of (await get("/cut")).body); })()), "TypeError");
    equal("no body", [(await get("/204")).body, (await get("/echo", { method: "HEAD" })).body], [null, null]);
    equal("cookies", (await get("/cookies")).headers.getSetCookie(), ["a=1", "b=2"]);
    const r = await get("/echo?c"), copy = r.clone();
    equal("clone", [(await r.json()).search, (await copy.json()).search], ["?c", "?c"]);
    const cancelled = await get("/echo");
    await cancelled.body.cancel();
    equal("cancelled", [cancelled.bodyUsed, await rejected(cancelled.text())], [true, "TypeError"]);
  },
  async redirects(equal, { url }) {
    const get = (path, init) => fetch(new URL(path, url), init);
    const r = await get("/same", { headers: { authorization: "s" } });
    equal("the same origin", [(await r.json()).headers.authorization, r.url, r.redirected], ["s", new URL("/echo", url).href, true]);
    equal("a stream cannot go again", await rejected(get("/same", { method: "POST", body: streamOf("a"), duplex: "half" })), "TypeError");
    equal("away from http", await rejected(get("/file")), "TypeError");
    equal("without a place", await (await get("/nowhere")).text(), "stays");
    const manual = await get("/same", { redirect: "manual" });
    equal("by hand", [manual.status, manual.headers.get("location")], [307, "/echo#frag"]);
  },
  async data(equal) {
    const r = await fetch("data:text/plain;charset=utf-8;base64,aGk=");
    equal("base64", [await r.text(), r.headers.get("content-type")], ["hi", "text/plain;charset=utf-8"]);
    equal("plain", await (await fetch("data:,a%20b#x")).text(), "a b");
    equal("broken", [await rejected(fetch("data:x")), await rejected(fetch("data:;base64,a"))], ["TypeError", "TypeError"]);
  },
  async aborting(equal, { url }) {
    gone.length = 0;
    const c = new AbortController(), hanging = fetch(new URL("/hang", url), { signal: c.signal });
    await wait(100);
    c.abort(new RangeError("r"));
    equal("the reason", await rejected(hanging), "RangeError");
    for (let i = 0; i < 100 && gone.length === 0; i++) await wait(20);
    equal("the server hears of it", gone, ["AbortError"]);
    let reason;
    const endless = new ReadableStream({ async pull(k) { await wait(5); k.enqueue(new Uint8Array(10)); }, cancel(r) { reason = r; } });
    const d = new AbortController(), upload = fetch(new URL("/echo", url), { method: "POST", body: endless, duplex: "half", signal: d.signal });
    await wait(50);
    d.abort("stop");
    equal("an upload", [await rejected(upload), reason], ["stop", "stop"]);
  },
  async events(equal, { url }) {
    const es = new EventSource(new URL("/events", url)), got = [];
    es.onopen = () => got.push("open");
    es.addEventListener("e", (e) => got.push(e.data, e.lastEventId, e.origin === new URL(url).origin));
    es.onmessage = (e) => got.push(`message ${JSON.stringify(e.data)}`);
    await new Promise((resolve) => {
      let n = 0;
      es.onerror = () => {
        got.push(`error ${es.readyState}`);
        if (++n < 2) return;
        es.close();
        resolve();
      };
    });
    equal("two connections", got.slice(0, 7), ["open", "one\ntwo", "7", true, "message \"\"", "error 0", "open"]);
    equal("closed", es.readyState, EventSource.CLOSED);
    const wrong = new EventSource(new URL("/echo", url));
    equal("another type", await new Promise((resolve) => { wrong.onerror = () => resolve(wrong.readyState); }), EventSource.CLOSED);
  },
};

export default {
  fetch(request) {
    const route = ROUTES[new URL(request.url).pathname];
    return route ? route(request) : run(areas, request);
  },
};
