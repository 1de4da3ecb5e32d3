// Datagrams, for `wapo:sockets`.
import native from "wapo:native";
import { INTERNAL, bytesOf, dictionary, finish, illegal, isObject, need, text } from "../web/idl.js";
import { SocketError, rethrown, socketError } from "./socket-error.js";
import { ALL, authority, portOf } from "./listening.js";

// "ip:port" or { hostname, port } as text.
function targetOf(target, where) {
  return isObject(target) ? authority(text(target.hostname), portOf(target.port, where)) : text(target);
}

function payload(data, where) {
  if (typeof data === "string") return data;
  const bytes = bytesOf(data);
  if (bytes === null) throw new TypeError(`${where}: a datagram is bytes or text`);
  return bytes;
}

export class UdpSocket {
  #socket;
  #sending = Promise.resolve();
  #receiving = Promise.resolve();
  #waiting = [];
  #isClosed = false;

  constructor(token, socket) {
    if (token !== INTERNAL) illegal();
    this.#socket = socket;
  }

  // "ip:port" that it is bound to.
  get address() { return this.#socket.address; }

  // Makes "host:port" its peer: send() goes there, and only what comes from there is received.
  connect(target) {
    need(arguments.length, 1, "connect");
    const to = targetOf(target, "connect");
    return this.#turn(() => this.#socket.connect(to));
  }

  // Sends a datagram to "ip:port", or to the peer.
  send(data, target = undefined) {
    need(arguments.length, 1, "send");
    return this.sendAll([{ data, address: target }]);
  }

  // Sends many: { data, address } each.
  sendAll(datagrams) {
    need(arguments.length, 1, "sendAll");
    const list = [];
    for (const { data, address } of datagrams) list.push(payload(data, "send"), address === undefined || address === null ? null : targetOf(address, "send"));
    return this.#turn(() => this.#socket.send(list));
  }

  // The next datagram: { data, address }.
  async receive() {
    for (;;) {
      if (this.#waiting.length > 0) return this.#waiting.shift();
      const [first, ...rest] = await this.receiveAll();
      this.#waiting.push(...rest);
      if (first !== undefined) return first;
    }
  }

  // All that are there, at least one, at most 32.
  receiveAll() {
    const received = this.#receiving.then(async () => {
      if (this.#waiting.length > 0) return this.#waiting.splice(0);
      let list;
      try {
        list = await this.#socket.receive();
      } catch (error) {
        throw socketError(error);
      }
      const out = [];
      for (let i = 0; i < list.length; i += 2) out.push({ data: list[i], address: list[i + 1] });
      return out;
    });
    this.#receiving = received.then(() => {}, () => {});
    return received;
  }

  close() {
    this.#isClosed = true;
    this.#socket.close();
  }

  async next() {
    try {
      return { value: await this.receive(), done: false };
    } catch (error) {
      if (this.#isClosed) return { value: undefined, done: true };
      throw error;
    }
  }

  async return(value) {
    this.close();
    return { value, done: true };
  }

  [Symbol.asyncIterator]() { return this; }

  // One after the other: the engine has one that sends.
  #turn(action) {
    const done = this.#sending.then(async () => {
      try {
        await action();
      } catch (error) {
        throw socketError(error);
      }
    });
    this.#sending = done.catch(() => {});
    return done;
  }
}
finish(UdpSocket, "UdpSocket");

// udp({ port, hostname }): with a port of the app it receives from every address; without, it is a client's socket, which receives from
// those that it has sent to.
export function udp(options = undefined) {
  const o = dictionary(options, "udp");
  const hostname = o.hostname === undefined ? ALL : text(o.hostname);
  return new UdpSocket(INTERNAL, rethrown(() => native.net.bind({ address: authority(hostname, portOf(o.port ?? 0, "udp")) })));
}

export { SocketError };
