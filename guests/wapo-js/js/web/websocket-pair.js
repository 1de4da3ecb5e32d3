// WebSocketPair and the server's end of a WebSocket: what edge runtimes share.
// No standard. `new WebSocketPair()` gives { 0: client, 1: server }; the client end goes into
// `new Response(null, { status: 101, webSocket })`, the server end is accepted and used by the program.
import { INTERNAL, finish, illegal, isObject, need, text } from "./idl.js";
import { EventTarget, handlerAttributes } from "./event-target.js";
import { listGet } from "./headers.js";
import { CLOSED, CLOSING, CONNECTING, OPEN, WebSocket, begin, buffered, closeArguments, closeLink, newLink, sendOn, sizeOf } from "./websocket.js";

// Messages that the program sends before the connection is there.
const EARLY_MAX = 1024;

let pairOf;

// One end. `other` is the end in the same engine; the client end becomes a connection when a Response carries it away.
class ServerWebSocket extends EventTarget {
  #link;
  #end;

  constructor(token, end) {
    if (token !== INTERNAL) illegal();
    super();
    this.#link = newLink(this);
    this.#link.binaryType = "arraybuffer";
    this.#end = end;
  }

  static {
    pairOf = (ws) => (isObject(ws) && #end in ws ? { link: ws.#link, end: ws.#end } : null);
  }

  get readyState() { return this.#end.accepted || this.#link.state > OPEN ? this.#link.state : CONNECTING; }
  get url() { return this.#link.url; }
  get protocol() { return this.#link.protocol; }
  get extensions() { return this.#link.extensions; }
  get bufferedAmount() { return buffered(this.#link); }
  get binaryType() { return this.#link.binaryType; }
  set binaryType(value) {
    const s = text(value);
    if (s === "blob" || s === "arraybuffer") this.#link.binaryType = s;
  }

  accept() {
    const end = this.#end;
    if (end.sent) throw new DOMException("WebSocket.accept: this end was given to a Response", "InvalidStateError");
    if (end.accepted) return;
    end.accepted = true;
    if (this.#link.state === CONNECTING) this.#link.state = OPEN;
    if (end.conn === null) end.early = earlyConnection();
    begin(this.#link, end.conn ?? end.early);
    tie(end, pairOf(end.other).end);
  }

  send(data) {
    need(arguments.length, 1, "WebSocket.send");
    if (!this.#end.accepted) throw new DOMException("WebSocket.send: call accept() first", "InvalidStateError");
    sendOn(this.#link, data);
  }

  close(code = undefined, reason = undefined) {
    const [n, r] = closeArguments(code, reason, "WebSocket.close");
    if (!this.#end.accepted) throw new DOMException("WebSocket.close: call accept() first", "InvalidStateError");
    closeLink(this.#link, n, r);
  }
}
finish(ServerWebSocket, "WebSocket", { constants: { CONNECTING, OPEN, CLOSING, CLOSED } });
handlerAttributes(ServerWebSocket.prototype, "open", "error", "close", "message");

// For `instanceof`: both ends are WebSockets to a program.
Object.setPrototypeOf(ServerWebSocket.prototype, WebSocket.prototype);

export class WebSocketPair {
  constructor() {
    const end = () => ({ accepted: false, sent: false, conn: null, early: null, other: null });
    const server = end(), client = end();
    const one = new ServerWebSocket(INTERNAL, client), two = new ServerWebSocket(INTERNAL, server);
    client.other = two;
    server.other = one;
    this[0] = one;
    this[1] = two;
  }
  *[Symbol.iterator]() { yield this[0]; yield this[1]; }
}
finish(WebSocketPair, "WebSocketPair");

// Before the Response is sent, the server end talks into a queue.
function earlyConnection() {
  const waiting = [];
  let real = null;
  let arrived;
  const there = new Promise((resolve) => { arrived = resolve; });
  const soon = (f) => {
    if (real !== null) f(real);
    else waiting.push(() => f(real));
  };
  return {
    protocol: "", extensions: "",
    get taken() { return real === null ? 0 : real.taken; },
    read: () => there.then((conn) => conn.read()),
    send(message) {
      if (real !== null) return real.send(message);
      if (waiting.length >= EARLY_MAX) throw new DOMException("WebSocket.send: too many messages wait for the connection", "QuotaExceededError");
      soon((conn) => { conn.send(message); });
      return sizeOf(message);
    },
    close: (code, reason) => { soon((conn) => conn.close(code, reason)); },
    kill: () => { soon((conn) => conn.kill()); },
    attach(conn) {
      real = conn;
      for (const f of waiting) f();
      arrived(conn);
    },
  };
}

// When both ends were accepted here, they talk to each other.
function tie(one, two) {
  if (one.early === null || two.early === null || one.sent || two.sent) return;
  const inboxes = [newInbox(), newInbox()];
  const conn = (mine, other) => ({
    protocol: "", extensions: "", taken: 0, read: mine.take,
    send(message) {
      other.put(message);
      const size = sizeOf(message);
      this.taken += size;
      return size;
    },
    close(code = 1005, reason = "") {
      for (const inbox of [mine, other]) inbox.put({ code, reason, clean: true });
    },
    kill() { other.put({ code: 1006, reason: "", clean: false }); },
  });
  one.early.attach(conn(inboxes[0], inboxes[1]));
  two.early.attach(conn(inboxes[1], inboxes[0]));
}

function newInbox() {
  const waiting = [];
  let reader = null;
  return {
    put(message) {
      if (reader === null) waiting.push(message);
      else reader(message);
      reader = null;
    },
    take: () => new Promise((resolve) => {
      if (waiting.length > 0) resolve(waiting.shift());
      else reader = resolve;
    }),
  };
}

// Answers the exchange with 101 and ties the server end to the connection.
export function acceptSocket(exchange, socket, list) {
  const client = pairOf(socket);
  if (client === null) throw new TypeError("webSocket is not an end of a WebSocketPair");
  if (client.end.sent || client.end.accepted) throw new TypeError("this end of the WebSocketPair is in use already");
  client.end.sent = true;
  const conn = exchange.upgrade(list, listGet(list, "sec-websocket-protocol") ?? "");
  const server = pairOf(client.end.other);
  if (server.end.early !== null) server.end.early.attach(conn);
  else server.end.conn = conn;
}
