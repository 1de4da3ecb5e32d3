// fetch().
// Fetch Living Standard, 4 (fetching) and 5.6 (fetch method), without what needs a document: no CORS, no cookies, no cache,
// no referrer. `redirect: "manual"` gives the redirect itself, as server runtimes do. Connections are the engine's.
import native from "wapo:native";
import { Request, addressOf, dropBodyHeaders, requestState, signalFor } from "./request.js";
import { NULL_BODY, responseOf } from "./response.js";
import { bodyFor, bodyOfSource, extract, isUnusable, take } from "./body.js";
import { headerList, listDelete, listGet } from "./headers.js";
import { onAbort } from "./abort.js";
import { stop } from "./streams.js";
import { originOf } from "./url.js";
import { ACCEPT_ENCODING, decodedSource } from "./compression.js";
import { percentBytes } from "./search-params.js";
import { parseMime, serializeMime } from "./mime.js";
import { USER_AGENT } from "./navigator.js";
import { need, trimmed } from "./idl.js";

// Redirects of one fetch (4.4, step 7).
const REDIRECTS_MAX = 20;
const REDIRECTS = [301, 302, 303, 307, 308];

export function fetch(input, init = undefined) {
  try {
    need(arguments.length, 1, "fetch");
    return start(new Request(input, init));
  } catch (error) {
    return Promise.reject(error);
  }
}

async function start(request) {
  const s = requestState(request), signal = signalFor(s), body = bodyFor(s);
  if (signal.aborted) {
    if (body !== null && !isUnusable(body)) discard(take(body), signal.reason);
    throw signal.reason;
  }
  const url = s.url;
  if (url.startsWith("data:")) return dataUrl(url);
  if (!/^https?:/.test(url)) throw new TypeError(`fetch: the scheme ${url.slice(0, url.indexOf(":") + 1)} cannot be fetched`);
  const job = {
    url, method: s.method, list: [...headerList(request.headers)], content: body === null ? null : take(body), redirect: s.options.redirect,
    signal, hops: 0, call: null, release: () => {},
  };
  defaults(job);
  const aborted = new Promise((_, reject) => {
    job.release = onAbort(signal, (reason) => {
      job.call?.abort();
      if (job.content !== null) discard(job.content, reason);
      reject(reason);
    });
  });
  aborted.catch(() => {});
  try {
    return await Promise.race([follow(job), aborted]);
  } catch (error) {
    job.release();
    throw signal.aborted ? signal.reason : error;
  }
}

function discard({ source }, reason) {
  if (source !== null) stop(source, reason);
}

function defaults({ list }) {
  const add = (name, value) => { if (listGet(list, name) === null) list.push(name, value); };
  add("accept", "*/*");
  add("user-agent", USER_AGENT);
  if (listGet(list, "range") === null) add("accept-encoding", ACCEPT_ENCODING);
}

async function follow(job) {
  for (;;) {
    const answer = await once(job);
    if (job.signal.aborted) throw job.signal.reason;
    const location = REDIRECTS.includes(answer.status) ? listGet(answer.headers, "location") : null;
    if (location === null || job.redirect === "manual") return finishAnswer(job, answer);
    if (job.redirect === "error") {
      answer.body?.cancel();
      throw new TypeError("fetch: the answer is a redirect, and redirect is \"error\"");
    }
    answer.body?.cancel();
    redirect(job, answer.status, location);
  }
}

// One exchange with a server.
function once(job) {
  const { url, method, list, content } = job;
  const at = url.indexOf("#");
  const streamed = content !== null && content.source !== null;
  const plain = content === null ? (method === "POST" || method === "PUT" ? new Uint8Array(0) : null)
    : typeof content.data === "string" ? native.text.encode(content.data) : content.data;
  const call = job.call = native.http.request({ method, url: at < 0 ? url : url.slice(0, at), headers: list, body: streamed ? true : plain });
  if (!streamed) return call.response;
  const failed = upload(content.source, call.sink).then(() => new Promise(() => {}));
  return Promise.race([call.response, failed]);
}

async function upload(source, sink) {
  try {
    for (let chunk; (chunk = await source.read()) !== null;) await sink.write(chunk);
    await sink.close();
  } catch (error) {
    sink.abort();
    stop(source, error);
    throw error instanceof TypeError ? error : new TypeError("fetch: the body could not be sent", { cause: error });
  }
}

// 4.4 HTTP-redirect fetch.
function redirect(job, status, location) {
  const bytes = Uint8Array.from(location, (c) => c.charCodeAt(0));
  const p = native.url.parse(native.text.decode(bytes, false, true), job.url);
  if (p === null) throw new TypeError("fetch: the Location of a redirect is no URL");
  let href = p[0];
  if (!/^https?:/.test(href)) throw new TypeError("fetch: a redirect leads to something that is not http or https");
  if (++job.hops > REDIRECTS_MAX) throw new TypeError(`fetch: more than ${REDIRECTS_MAX} redirects`);
  if (status !== 303 && job.content !== null && job.content.source !== null) throw new TypeError("fetch: a redirect wants the body again, and a stream is read only once");
  addressOf(href);
  const { method, list } = job;
  if (((status === 301 || status === 302) && method === "POST") || (status === 303 && method !== "GET" && method !== "HEAD")) {
    job.method = "GET";
    job.content = null;
    dropBodyHeaders(list);
  }
  if (originOf(href) !== originOf(job.url)) for (const name of ["authorization", "proxy-authorization", "cookie", "host"]) listDelete(list, name);
  const hash = job.url.indexOf("#");
  if (hash >= 0 && !href.includes("#")) href += job.url.slice(hash);
  job.url = href;
}

function finishAnswer(job, answer) {
  const { status, statusText, headers } = answer;
  let body = answer.body ?? null;
  if (body !== null && (NULL_BODY.includes(status) || job.method === "HEAD")) {
    body.cancel();
    body = null;
  }
  if (body === null) job.release();
  else {
    const raw = abortable(job, body), coding = listGet(headers, "content-encoding");
    body = bodyOfSource((coding === null ? null : decodedSource(raw, coding)) ?? raw);
  }
  const hash = job.url.indexOf("#");
  return responseOf({
    status, statusText: statusText ?? "", list: headers, fixed: true, body, type: "default",
    url: hash < 0 ? job.url : job.url.slice(0, hash), redirected: job.hops > 0,
  });
}

// The body as long as nobody aborts; afterwards reading fails with the signal's reason.
function abortable(job, source) {
  const { signal } = job;
  return {
    async read() {
      if (signal.aborted) throw signal.reason;
      let chunk;
      try {
        chunk = await source.read();
      } catch (error) {
        job.release();
        throw signal.aborted ? signal.reason : error;
      }
      if (signal.aborted) throw signal.reason;
      if (chunk === null) job.release();
      return chunk;
    },
    cancel() {
      job.release();
      source.cancel();
      // A read that is under way would keep the connection until something comes.
      job.call.abort();
    },
  };
}

// Fetch, 6 (data: URL processor).
function dataUrl(url) {
  const hash = url.indexOf("#"), input = hash < 0 ? url : url.slice(0, hash), comma = input.indexOf(",");
  if (comma < 0) throw new TypeError("fetch: the data: URL has no comma");
  let type = trimmed(input.slice(5, comma), true);
  let bytes = percentBytes(input.slice(comma + 1));
  const base64 = /; *base64$/i.exec(type);
  if (base64) {
    type = type.slice(0, base64.index);
    let binary = "";
    for (let i = 0; i < bytes.length; i += PIECE) binary += String.fromCharCode.apply(null, bytes.subarray(i, i + PIECE));
    try { binary = atob(binary); } catch { throw new TypeError("fetch: the data: URL is not valid base64"); }
    bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  }
  if (type.startsWith(";")) type = `text/plain${type}`;
  const mime = parseMime(type);
  const content = mime === null ? "text/plain;charset=US-ASCII" : serializeMime(mime);
  return responseOf({ list: ["content-type", content], fixed: true, body: extract(bytes), url: input });
}

// Characters that are put together at once.
const PIECE = 4096;
