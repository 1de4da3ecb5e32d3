// What a handler may give back or throw: the client gets an answer, or a 500 without the inside of the program, every time.
// The service asks itself.
import { run } from "./check.js";

const chunk = new Uint8Array([97]);
const stream = (source) => new Response(new ReadableStream(source));
const revoked = () => {
  const p = Proxy.revocable({}, {});
  p.revoke();
  return p.proxy;
};
const traps = { get() { throw 1; }, getPrototypeOf() { throw 2; }, ownKeys() { throw 3; }, getOwnPropertyDescriptor() { throw 4; } };

// Path to handler; each is expected to become a 500.
const REFUSED = {
  control: () => new Response("secret", { headers: { a: "\x01" } }),
  controlstream: () => new Response(new ReadableStream({}), { headers: { a: "\x01" } }),
  thenthrows: () => ({ get then() { throw null; } }),
  revoked,
  rejects: () => ({ then(_, no) { no({ get stack() { throw 1; }, get name() { throw 2; }, get message() { throw 3; } }); } }),
  error: () => { const e = new Error("secret"); Object.defineProperty(e, "name", { get() { throw 1; } }); Object.defineProperty(e, "message", { value: Symbol("s") }); throw e; },
  proxy: () => { throw new Proxy(new Error("secret"), traps); },
  custom: () => { throw { [Symbol.for("nodejs.util.inspect.custom")]() { throw 1; } }; },
  overflow: () => { const f = () => f() + 1; return f(); },
  nohandshake: () => new Response(null, { status: 101, webSocket: new WebSocketPair()[0] }),
  nopair: () => new Response(null, { status: 101, webSocket: {} }),
  nothing: () => undefined, symbol: () => Symbol("s"), object: () => Object.create(null), error0: () => Response.error(),
  like: () => new Proxy(new Response("secret"), {}),
  initgetter: () => new Response("", { get status() { throw new Error("secret"); } }),
  badheader: (r) => r.headers.get("\u20ac"),
};

// Path to handler and the text of its answer.
const ANSWERED = {
  subclass: [() => new (class extends Response { get status() { throw 1; } get body() { throw 2; } })("sub"), "sub"],
  frozen: [() => Object.freeze(new Response("frozen")), "frozen"],
  shadowed: [(r) => new Response(`${delete r.url}${new URL(r.url).pathname}`), "true/answered/shadowed"],
  waiting: [(r, env, ctx) => { ctx.waitUntil({ get then() { throw 1; } }); ctx.waitUntil(undefined); return new Response("w"); }, "w"],
  lone: [() => new Response("\ud800"), "\ufffd"],
  like: [(r) => new Response(new Request("http://x.example/", r).method), "GET"],
};

const CUT = {
  cancelthrows: () => stream({ start(c) { c.enqueue(chunk); }, pull(c) { c.enqueue("s"); }, cancel() { throw 1; } }),
  proxied: () => stream({ start(c) { c.enqueue(new Proxy(chunk, {})); c.close(); } }),
};

const areas = {
  async refused(equal, { url }) {
    for (const name of Object.keys(REFUSED)) {
      const r = await fetch(new URL(`/refused/${name}`, url)), text = await r.text();
      equal(name, [r.status, text.includes("secret")], [500, false]);
    }
  },
  async answered(equal, { url }) {
    for (const [name, [, wanted]] of Object.entries(ANSWERED)) {
      const r = await fetch(new URL(`/answered/${name}`, url));
      equal(name, [r.status, await r.text()], [200, wanted]);
    }
  },
  async cut(equal, { url }) {
    for (const name of Object.keys(CUT)) {
      equal(name, await fetch(new URL(`/cut/${name}`, url)).then((r) => r.text()).then(() => "complete", () => "cut"), "cut");
    }
  },
};

export default {
  fetch(request, env, ctx) {
    const [, kind, name] = new URL(request.url).pathname.split("/");
    if (kind === "refused") return REFUSED[name](request, env, ctx);
    if (kind === "answered") return ANSWERED[name][0](request, env, ctx);
    return kind === "cut" ? CUT[name]() : run(areas, request);
  },
};
