// WebSocket, client side, over a connection of the engine; and what it has in common with the server side.
// WebSockets Standard, 2 to 6; RFC 6455 is the engine's.
import native from "wapo:native";
import { TOKEN, bytesOf, finish, isObject, isShared, need, sequenceBy, text, usv } from "./idl.js";
import { CloseEvent, Event, MessageEvent } from "./event.js";
import { EventTarget, fire, handlerAttributes } from "./event-target.js";
import { blobOf, blobState, isBlob } from "./blob.js";
import { startTimer } from "./timers.js";
import { originOf } from "./url.js";

export const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
const STATES = { CONNECTING, OPEN, CLOSING, CLOSED };
// Bytes of a close reason: what a control frame holds besides the code (RFC 6455, 5.5).
const REASON_BYTES_MAX = 123;

const LOST = { code: 1006, reason: "", clean: false };

// The part that knows the connection: { state, conn, given, target, binaryType, url, origin, protocol, extensions }. `given` counts
// the bytes of what the program has sent, `conn.taken` those that the connection has.
export function newLink(target) {
  return { state: CONNECTING, conn: null, call: null, given: 0, target, binaryType: "blob", url: "", origin: "", protocol: "", extensions: "" };
}

export function begin(link, conn) {
  link.conn = conn;
  link.protocol = conn.protocol;
  link.extensions = conn.extensions;
  if (link.state === CONNECTING) link.state = OPEN;
  receive(link);
}

async function receive(link) {
  for (;;) {
    let message;
    try {
      message = await link.conn.read();
    } catch {
      message = LOST;
    }
    if (typeof message !== "string" && !(message instanceof Uint8Array)) return finishLink(link, message);
    if (link.state !== OPEN && link.state !== CLOSING) continue;
    const data = typeof message === "string" ? message : link.binaryType === "blob" ? blobOf(message, "") : message.slice().buffer;
    fire(link.target, new MessageEvent("message", { data, origin: link.origin }));
  }
}

function finishLink(link, { code, reason, clean }) {
  if (link.state === CLOSED) return;
  link.state = CLOSED;
  if (!clean) fire(link.target, new Event("error"));
  fire(link.target, new CloseEvent("close", { code, reason, wasClean: clean }));
}

export function sendOn(link, data) {
  if (link.state === CONNECTING) throw new DOMException("WebSocket.send: the connection is not open yet", "InvalidStateError");
  const message = messageOf(data);
  link.given += link.state === OPEN ? link.conn.send(message) : sizeOf(message);
}

export function sizeOf(message) {
  return typeof message === "string" ? native.text.encode(message).length : message.length;
}

export function buffered(link) {
  return link.given - (link.conn === null ? 0 : link.conn.taken);
}

function messageOf(data) {
  if (typeof data === "string") return data.toWellFormed();
  if (isBlob(data)) return blobState(data).bytes;
  const bytes = bytesOf(data);
  if (bytes === null) return usv(data);
  if (isShared(bytes.buffer)) throw new TypeError("WebSocket.send: shared memory cannot be sent");
  return bytes.slice();
}

// Checks the arguments of close() and gives them back.
export function closeArguments(code, reason, where) {
  const n = code === undefined ? undefined : clampShort(code);
  const r = reason === undefined ? "" : usv(reason);
  if (n !== undefined && n !== 1000 && (n < 3000 || n > 4999)) {
    throw new DOMException(`${where}: the code ${n} is neither 1000 nor between 3000 and 4999`, "InvalidAccessError");
  }
  if (native.text.encode(r).length > REASON_BYTES_MAX) throw new DOMException(`${where}: the reason is longer than ${REASON_BYTES_MAX} bytes`, "SyntaxError");
  return [n === undefined && r !== "" ? 1000 : n, r];
}

// [Clamp] unsigned short.
function clampShort(value) {
  const n = +value;
  return Number.isNaN(n) ? 0 : Math.round(Math.min(Math.max(n, 0), 65535));
}

export function closeLink(link, code, reason) {
  if (link.state === CLOSING || link.state === CLOSED) return;
  if (link.state === OPEN) {
    link.state = CLOSING;
    link.conn.close(code, reason);
    return;
  }
  link.state = CLOSING;
  link.call?.abort();
  startTimer(() => finishLink(link, LOST), 0);
}

function protocolsFrom(value) {
  const method = isObject(value) ? value[Symbol.iterator] : undefined;
  const list = method === undefined || method === null ? [text(value)] : sequenceBy(value, method, text);
  const seen = new Set();
  for (const p of list) {
    const lower = p.toLowerCase();
    if (!TOKEN.test(p) || seen.has(lower)) throw new DOMException(`WebSocket: the protocol "${p}" is not a token, or is given twice`, "SyntaxError");
    seen.add(lower);
  }
  return list;
}

const SCHEMES = { "ws:": "ws:", "wss:": "wss:", "http:": "ws:", "https:": "wss:" };

function addressOf(url) {
  const p = native.url.parse(usv(url), undefined);
  if (p === null) throw new DOMException("WebSocket: invalid URL (an absolute one is needed)", "SyntaxError");
  const scheme = p[0].slice(0, p[1] + 1);
  if (!Object.hasOwn(SCHEMES, scheme)) throw new DOMException(`WebSocket: the scheme ${scheme} is none of ws, wss, http, https`, "SyntaxError");
  if (p[8] >= 0) throw new DOMException("WebSocket: the URL has a fragment", "SyntaxError");
  return SCHEMES[scheme] + p[0].slice(p[1] + 1);
}

export class WebSocket extends EventTarget {
  #link;

  constructor(url, protocols = []) {
    need(arguments.length, 1, "WebSocket");
    super();
    const address = addressOf(url), list = protocolsFrom(protocols);
    const link = this.#link = newLink(this);
    link.url = address;
    link.origin = originOf(address.replace(/^ws/, "http"));
    connect(link, list);
  }

  get url() { return this.#link.url; }
  get readyState() { return this.#link.state; }
  get bufferedAmount() { return buffered(this.#link); }
  get extensions() { return this.#link.extensions; }
  get protocol() { return this.#link.protocol; }
  get binaryType() { return this.#link.binaryType; }
  set binaryType(value) {
    const s = text(value);
    if (s === "blob" || s === "arraybuffer") this.#link.binaryType = s;
  }

  close(code = undefined, reason = undefined) {
    const link = this.#link;
    closeLink(link, ...closeArguments(code, reason, "WebSocket.close"));
  }

  send(data) {
    need(arguments.length, 1, "WebSocket.send");
    sendOn(this.#link, data);
  }
}
finish(WebSocket, "WebSocket", { constants: STATES });
handlerAttributes(WebSocket.prototype, "open", "error", "close", "message");

function connect(link, protocols) {
  let opening;
  try {
    link.call = native.ws.open(link.url, protocols, []);
    opening = link.call.conn;
  } catch (error) {
    opening = Promise.reject(error); // as if the other end had refused
  }
  opening.then((conn) => {
    if (link.state !== CONNECTING) return conn.kill();
    begin(link, conn);
    fire(link.target, new Event("open"));
  }, () => {
    // Why is not told to scripts (WebSockets Standard, 4, "fail the WebSocket connection"); the engine's log has it.
    if (link.state === CONNECTING) finishLink(link, LOST);
  });
}
