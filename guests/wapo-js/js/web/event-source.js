// EventSource: server-sent events over fetch().
// HTML Living Standard, 9.2. The connection is made again after it ends, until close() or a fatal answer.
import native from "wapo:native";
import { dictionary, finish, need, usv } from "./idl.js";
import { Event, MessageEvent } from "./event.js";
import { EventTarget, fire, handlerAttributes } from "./event-target.js";
import { AbortController } from "./abort.js";
import { fetch } from "./fetch.js";
import { parseMime } from "./mime.js";
import { startTimer } from "./timers.js";
import { originOf } from "./url.js";

const CONNECTING = 0, OPEN = 1, CLOSED = 2;
// Time until a lost connection is made again; the server may say otherwise by "retry".
const RETRY_MS = 3000;
const RETRY_MAX_MS = 24 * 3600 * 1000;
// Characters of one event. A server that never ends a line would fill the memory.
const EVENT_MAX = 16 * 1024 * 1024;
// Characters of an id, which goes back to the server in a header field.
const ID_MAX = 1024;

export class EventSource extends EventTarget {
  #s;

  constructor(url, init = undefined) {
    need(arguments.length, 1, "EventSource");
    super();
    const { withCredentials } = dictionary(init, "EventSource");
    const p = native.url.parse(usv(url), undefined);
    if (p === null) throw new DOMException("EventSource: invalid URL (an absolute one is needed)", "SyntaxError");
    this.#s = { target: this, url: p[0], origin: "", credentials: !!withCredentials, state: CONNECTING, retry: RETRY_MS, lastId: "", abort: null, stopTimer: null };
    connect(this.#s);
  }

  get url() { return this.#s.url; }
  get withCredentials() { return this.#s.credentials; }
  get readyState() { return this.#s.state; }

  close() {
    const s = this.#s;
    s.state = CLOSED;
    s.stopTimer?.();
    s.abort?.abort();
  }
}
finish(EventSource, "EventSource", { constants: { CONNECTING, OPEN, CLOSED } });
handlerAttributes(EventSource.prototype, "open", "message", "error");

async function connect(s) {
  s.abort = new AbortController();
  const headers = { accept: "text/event-stream", "cache-control": "no-store" };
  if (s.lastId !== "") headers["last-event-id"] = String.fromCharCode(...native.text.encode(s.lastId));
  let response;
  try {
    response = await fetch(s.url, { headers, signal: s.abort.signal });
  } catch {
    return again(s);
  }
  if (s.state === CLOSED) return s.abort.abort();
  const type = response.headers.get("content-type");
  if (response.status !== 200 || type === null || parseMime(type)?.essence !== "text/event-stream") {
    s.abort.abort();
    s.state = CLOSED;
    return fire(s.target, new Event("error"));
  }
  s.state = OPEN;
  s.origin = originOf(response.url);
  fire(s.target, new Event("open"));
  try {
    await readEvents(s, response.body);
  } catch {
    // The connection was lost, or is given up for what came over it.
    s.abort.abort();
  }
  again(s);
}

function again(s) {
  if (s.state === CLOSED) return;
  s.state = CONNECTING;
  fire(s.target, new Event("error"));
  if (s.state === CLOSED) return;
  s.stopTimer = startTimer(() => { if (s.state === CONNECTING) connect(s); }, s.retry);
}

// 9.2.5 and 9.2.6: lines end by CR LF, LF or CR; an event that the end cuts off is dropped.
async function readEvents(s, body) {
  if (body === null) return;
  const decoder = native.text.decoder("utf-8", false, false), reader = body.getReader();
  const event = { type: "", data: [], id: s.lastId, size: 0 };
  // Pieces of a line that has not ended: putting them together each time would take the square of its length.
  let rest = [], size = 0, afterCr = false;
  while (s.state !== CLOSED) {
    const { value, done } = await reader.read();
    if (done) return;
    let text = decoder.decode(value, true);
    if (afterCr && text[0] === "\n") text = text.slice(1);
    if (text === "") continue;
    afterCr = text.endsWith("\r");
    rest.push(text);
    size += text.length;
    if (size + event.size > EVENT_MAX) throw new RangeError("the event is too long");
    if (!/[\r\n]/.test(text)) continue;
    const lines = rest.join("").split(/\r\n|\n|\r/);
    rest = [lines.pop()];
    size = rest[0].length;
    for (const line of lines) {
      if (s.state === CLOSED) return;
      if (line === "") deliver(s, event);
      else field(s, event, line);
    }
  }
}

function field(s, event, line) {
  const colon = line.indexOf(":");
  if (colon === 0) return;
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
  if (name === "event") event.type = value;
  else if (name === "data") {
    event.data.push(value);
    event.size += value.length + 1;
  } else if (name === "id" && !value.includes("\0") && value.length <= ID_MAX) event.id = value;
  else if (name === "retry" && /^\d+$/.test(value)) s.retry = Math.min(Number(value), RETRY_MAX_MS);
}

function deliver(s, event) {
  s.lastId = event.id;
  const { type, data } = event;
  event.type = "";
  event.data = [];
  event.size = 0;
  if (data.length === 0) return;
  fire(s.target, new MessageEvent(type || "message", { data: data.join("\n"), origin: s.origin, lastEventId: s.lastId }));
}
