// Passes requests on to another server and streams its answers back, with a cache for those that are small.
//
//     wapo run guests/wapo-js/examples/fetch-proxy --env UPSTREAM=https://example.com
//     curl -i http://127.0.0.1:8100/
//
// Addresses that are not public have to be allowed: `--allow-egress 127.0.0.1`.

const FRESH_MS = 10_000;
const ENTRIES_MAX = 100;
const BYTES_MAX = 64 * 1024;
// Fields that are about one connection and not about the message (RFC 9110, 7.6.1).
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"];

const cache = new Map();

function remember(url, answer, body) {
  if (cache.size >= ENTRIES_MAX) cache.delete(cache.keys().next().value);
  cache.set(url, { body, status: answer.status, type: answer.headers.get("content-type"), until: Date.now() + FRESH_MS });
}

function known(url) {
  const entry = cache.get(url);
  if (entry === undefined || entry.until < Date.now()) return null;
  const headers = { "x-cache": "hit", ...(entry.type === null ? {} : { "content-type": entry.type }) };
  return new Response(entry.body, { status: entry.status, headers });
}

export default {
  async fetch(request, env, ctx) {
    if (!env.UPSTREAM) return new Response("UPSTREAM is not set\n", { status: 500 });
    const { pathname, search } = new URL(request.url);
    const url = new URL(pathname + search, env.UPSTREAM).href;
    const isPlain = request.method === "GET" && !request.headers.has("authorization") && !request.headers.has("cookie");
    const hit = isPlain && known(url);
    if (hit) return hit;

    const headers = new Headers(request.headers);
    for (const name of HOP_BY_HOP) headers.delete(name);
    const answer = await fetch(url, {
      method: request.method, headers, body: request.body, duplex: "half", redirect: "manual", signal: AbortSignal.timeout(30_000),
    }).catch((error) => new Response(`the other server does not answer: ${error.message}\n`, { status: 502 }));

    const given = new Headers(answer.headers);
    for (const name of [...HOP_BY_HOP, "content-encoding", "content-length"]) given.delete(name);
    given.set("x-cache", "miss");
    const isSmall = Number(answer.headers.get("content-length") ?? Infinity) <= BYTES_MAX;
    if (isPlain && answer.status === 200 && isSmall) {
      ctx.waitUntil(answer.clone().arrayBuffer().then((body) => remember(url, answer, body)));
    }
    return new Response(answer.body, { status: answer.status, headers: given });
  },
};
