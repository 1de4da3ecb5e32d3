// Programs as people write them, and mistakes that the compiler must find. Checked by `cargo xtask types`; never run.

import page from "./page.html" with { type: "text" };
import style from "./style.css" with { type: "text" };
import roots from "./roots.pem" with { type: "text" };

const texts: string[] = [page, style, roots];
// @ts-expect-error a page is text
const wrongPage: number = page;

export default {
  async fetch(request, env, ctx) {
    ctx.waitUntil(Promise.resolve());
    const greeting: string = env["GREETING"] ?? "hello";
    if (request.headers.get("upgrade") === "websocket") {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      server.addEventListener("message", (event) => server.send(event.data));
      return new Response(null, { status: 101, webSocket: client });
    }
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    void request.body?.pipeTo(writable);
    return new Response(readable, { headers: { "x-greeting": greeting } });
  },
  query({ path, payload, origin }) {
    const first: number | undefined = payload[0];
    return origin === null ? `${path} ${first}` : payload;
  },
} satisfies WapoProgram;

// @ts-expect-error an answer is a Response
const wrongAnswer: WapoProgram = { fetch: () => "text" };
// @ts-expect-error the name is "query"
const wrongName = { queries: () => "text" } satisfies WapoProgram;
// @ts-expect-error the environment is text
const wrongEnv: WapoProgram = { fetch: (_, env) => new Response(env["N"] * 2) };
// @ts-expect-error waitUntil takes a promise
const wrongWait: WapoProgram = { fetch: (_, __, ctx) => (ctx.waitUntil(7), new Response()) };
// @ts-expect-error an answer to a query is text or bytes
const wrongQuery: WapoProgram = { query: () => 7 };

addEventListener("fetch", (event) => event.respondWith(new Response(event.request.url)));
// @ts-expect-error a FetchEvent has no such method
addEventListener("fetch", (event) => event.answerWith(new Response()));

const words: string[] = scriptArgs;
print(words.length, globalThis === global, global === window);
clearImmediate(setImmediate((n: number) => console.log(n), 1));
// @ts-expect-error there is no document
document.title = "x";
// @ts-expect-error Node's process is no global of this package
process.exit(1);

for await (const chunk of new Blob(["x"]).stream()) console.log(chunk.toHex());
const url = new URLPattern({ pathname: "/:name" }).exec("https://example.com/x")?.pathname.groups["name"];
console.log(url, structuredClone({ a: 1 }).a, crypto.randomUUID(), navigator.userAgent);
for (const [name, value] of new Headers()) console.log(name, value);
