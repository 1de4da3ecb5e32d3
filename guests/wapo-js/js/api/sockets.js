// `wapo:sockets`: TCP, TLS and UDP. connect() is that of the WinterTC draft "Sockets API"; listen() and udp() are in its manner.
import native from "wapo:native";
import { INTERNAL, bytesOf, dictionary, finish, illegal, isObject, need, oneOf, text } from "../web/idl.js";
import { startTimer } from "../web/timers.js";
import { WritableStream, streamOfSource } from "../web/streams.js";
import { SocketError, rethrown, socketError } from "../wapo/socket-error.js";
import { authority, identity, listenNative, names, portOf } from "../wapo/listening.js";
import { UdpSocket, udp } from "../wapo/udp.js";

if (native.net === undefined) throw new TypeError("isolates have no sockets");

// Bytes that wait in a writable stream before its writer is to wait.
const QUEUE_BYTES = 64 * 1024;
// How long close() waits for a peer to take what was written.
const CLOSE_TIMEOUT_MS = 10_000;

const closedError = () => new SocketError("the socket is closed", { code: "closed" });
const quiet = (promise) => {
  promise.catch(() => {});
  return promise;
};

// "host:port" or { hostname, port }.
function addressOf(address) {
  const invalid = () => new SocketError("connect: an address is \"host:port\" or { hostname, port }", { code: "invalid" });
  if (isObject(address) && address.hostname !== undefined) return { hostname: text(address.hostname), port: portOf(address.port, "connect") };
  const parts = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text(address));
  if (parts === null || Number(parts[2]) > 65535) throw invalid();
  return { hostname: parts[1], port: Number(parts[2]) };
}

export class Socket {
  #call; // { conn: a promise of the engine's connection, abort() }
  #host;
  #transport;
  #halfOpen;
  #conn = null;
  #opened;
  #closed = Promise.withResolvers();
  #readable;
  #writable;
  #controller;
  #source = null;
  #sink = null;
  #queued = 0; // bytes that were written and are not taken yet
  #drained = null; // called when there are none
  #isRead = false;
  #isWritten = false;
  #isClosing = false;
  #isOver = false;
  #failure = null;
  #upgraded = false;

  constructor(token, call, host, transport, halfOpen) {
    if (token !== INTERNAL) illegal();
    this.#call = call;
    this.#host = host;
    this.#transport = transport;
    this.#halfOpen = halfOpen;
    this.#opened = quiet(this.#open());
    quiet(this.#closed.promise);
    this.#readable = streamOfSource({ read: () => this.#read(), cancel: () => this.#cancel() });
    this.#writable = new WritableStream({
      start: (controller) => { this.#controller = controller; },
      write: (chunk) => this.#write(chunk),
      close: () => this.#end(),
      abort: () => this.#finish(null),
    }, { highWaterMark: QUEUE_BYTES, size: (chunk) => this.#count(chunk) });
  }

  get readable() { return this.#readable; }
  get writable() { return this.#writable; }
  get opened() { return this.#opened; }
  get closed() { return this.#closed.promise; }
  get upgraded() { return this.#upgraded; }
  get secureTransport() { return this.#transport; }

  // Sends what was written, then closes both directions.
  close() {
    if (!this.#isOver && !this.#isClosing) this.#close();
    return this.#closed.promise;
  }

  // The same connection with TLS. This socket is closed for the program then.
  startTls(options = undefined) {
    const o = dictionary(options, "startTls");
    if (this.#transport !== "starttls") throw new TypeError("startTls: the socket was not connected with secureTransport: \"starttls\"");
    if (this.#upgraded) throw new TypeError("startTls: TLS was started already");
    if (this.#isOver) throw closedError();
    const wish = tlsWish(o, "startTls"), name = o.serverName === undefined ? this.#host : text(o.serverName);
    this.#upgraded = true;
    const start = async () => {
      await this.#opened;
      await this.#drain();
      const conn = this.#conn;
      this.#conn = null;
      try {
        if (conn === null) throw closedError();
        return conn.startTls(name, wish);
      } finally {
        this.#finish(null);
      }
    };
    return new Socket(INTERNAL, { conn: start(), abort: () => this.#finish(null) }, name, "on", this.#halfOpen);
  }

  async #open() {
    try {
      const conn = await this.#call.conn;
      if (this.#isOver) {
        conn.close();
        throw closedError();
      }
      this.#conn = conn;
      this.#source = conn.source();
      this.#sink = conn.sink();
      const { local, remote, alpn, serverName } = await conn.opened();
      return { remoteAddress: remote, localAddress: local, alpn, serverName };
    } catch (error) {
      const told = socketError(error);
      this.#finish(told);
      throw told;
    }
  }

  async #read() {
    try {
      await this.#opened;
      if (this.#isOver) return null;
      const chunk = await this.#source.read();
      if (chunk === null) this.#readEnded();
      return chunk;
    } catch (error) {
      // Closed by the program while it waited: an end.
      if (this.#isOver && this.#failure === null) return null;
      const told = socketError(error);
      this.#finish(told);
      throw told;
    }
  }

  #readEnded() {
    this.#isRead = true;
    if (this.#isWritten) return this.#finish(null);
    // As the draft has it: with the peer's end this side ends as well, once all that was written is sent.
    if (!this.#halfOpen) quiet(this.#drain().then(() => this.#end()));
  }

  #cancel() {
    this.#isRead = true;
    this.#source?.cancel();
    if (this.#isWritten) this.#finish(null);
  }

  // Called for each chunk as it is written.
  #count(chunk) {
    const size = bytesOf(chunk)?.byteLength ?? 0;
    this.#queued += size;
    return size;
  }

  async #write(chunk) {
    const data = bytesOf(chunk);
    if (data === null) throw this.#finish(new TypeError("A socket is written bytes: an ArrayBuffer or a view of one"));
    try {
      await this.#opened;
      if (this.#isOver || this.#isWritten) throw this.#failure ?? closedError();
      await this.#sink.write(data);
    } catch (error) {
      throw this.#finish(socketError(error));
    }
    this.#queued -= data.byteLength;
    if (this.#queued === 0) this.#drained?.();
  }

  // Waits until all that was written is taken, or the socket is closed.
  async #drain() {
    if (this.#queued === 0 || this.#isOver) return;
    const drained = Promise.withResolvers(), before = this.#drained;
    this.#drained = () => {
      before?.();
      drained.resolve();
    };
    await drained.promise;
  }

  // Ends the direction out.
  async #end() {
    if (this.#isWritten || this.#isOver) return;
    this.#isWritten = true;
    try {
      await this.#opened;
      await this.#sink.close();
    } catch (error) {
      throw this.#finish(socketError(error));
    }
    if (this.#isRead) this.#finish(null);
  }

  async #close() {
    this.#isClosing = true;
    const stop = startTimer(() => this.#finish(null), CLOSE_TIMEOUT_MS);
    try {
      await this.#drain();
      if (this.#conn !== null) await this.#end();
    } catch { /* it is closed all the same */ }
    stop();
    this.#finish(null);
  }

  // The end of the socket, once; with an error it is a failure. Gives the error.
  #finish(error) {
    if (this.#isOver) return error ?? closedError();
    this.#isOver = true;
    this.#failure = error;
    this.#conn?.close();
    this.#conn = null;
    this.#call.abort();
    if (error === null) this.#closed.resolve();
    else this.#closed.reject(error);
    if (!this.#isWritten) this.#controller?.error(error ?? closedError());
    this.#isWritten = true;
    this.#drained?.();
    return error ?? closedError();
  }
}
finish(Socket, "Socket");

function tlsWish(o, where) {
  return { alpn: o.alpn === undefined ? undefined : names(o.alpn, where), roots: o.roots === undefined ? undefined : text(o.roots), ...identity(o, where) };
}

// connect("host:port" or { hostname, port }, { secureTransport, allowHalfOpen, sni, alpn, roots, certificate, key })
export function connect(address, options = undefined) {
  need(arguments.length, 1, "connect");
  const { hostname, port } = addressOf(address), o = dictionary(options, "connect");
  const transport = o.secureTransport === undefined ? "off" : oneOf(o.secureTransport, ["off", "on", "starttls"], "connect: secureTransport");
  const wish = tlsWish(o, "connect");
  const serverName = o.sni === undefined ? undefined : text(o.sni);
  const call = rethrown(() => native.net.connect(hostname, port, { ...wish, tls: transport === "on", serverName }));
  return new Socket(INTERNAL, call, serverName ?? hostname, transport, !!o.allowHalfOpen);
}

export class Listener {
  #listener;
  #halfOpen;
  #transport;
  #turn = Promise.resolve();
  #isClosed = false;

  constructor(token, listener, transport, halfOpen) {
    if (token !== INTERNAL) illegal();
    this.#listener = listener;
    this.#transport = transport;
    this.#halfOpen = halfOpen;
  }

  // "ip:port", or null for a name.
  get address() { return this.#listener.address; }

  // The next socket; fails when the listener is closed.
  async accept() {
    const socket = await this.#next();
    if (socket === null) throw new SocketError("the listener is closed", { code: "closed" });
    return socket;
  }

  // Sockets that were accepted go on.
  close() {
    this.#isClosed = true;
    this.#listener.close();
  }

  async next() {
    const value = await this.#next();
    return value === null ? { value: undefined, done: true } : { value, done: false };
  }

  async return(value) {
    this.close();
    return { value, done: true };
  }

  [Symbol.asyncIterator]() { return this; }

  // One after the other: the engine has one that waits.
  #next() {
    const next = this.#turn.then(async () => {
      if (this.#isClosed) return null;
      const conn = await this.#listener.accept();
      if (conn === null) return null;
      return new Socket(INTERNAL, { conn: Promise.resolve(conn), abort() {} }, "", this.#transport, this.#halfOpen);
    });
    this.#turn = next.then(() => {}, () => {});
    return next;
  }
}
finish(Listener, "Listener");

// listen({ port, hostname, certificate, key, backlog, keepAlive, proxyHeader, allowHalfOpen }) or
// listen({ serverName, certificate, key, alpn, allowHalfOpen }): an async iterable of sockets.
export function listen(options) {
  need(arguments.length, 1, "listen");
  const listener = rethrown(() => listenNative(options, "listen"));
  const transport = options.key === undefined ? "off" : "on";
  return new Listener(INTERNAL, listener, transport, !!options.allowHalfOpen);
}

export { SocketError, UdpSocket, udp };
export default { Listener, Socket, SocketError, UdpSocket, connect, listen, udp };
