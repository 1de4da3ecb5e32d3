// MessageChannel and MessagePort, within one engine.
// HTML Living Standard, 9.4. A message is delivered in a turn of its own, in order, once the port was started.
import { INTERNAL, finish, illegal, isObject, need } from "./idl.js";
import { MessageEvent } from "./event.js";
import { EventTarget, fire, handlerAttributes, hooks } from "./event-target.js";
import { deserialize, serialize, transferList } from "./clone.js";
import { startTimer } from "./timers.js";

let get, is, attach;

// An end: { other, queue, started, port, closed, pending }. It outlives its port when the port is moved.
function newEnd() {
  return { other: null, queue: [], started: false, port: null, pending: false };
}

export class MessagePort extends EventTarget {
  #end;

  constructor(token, end) {
    if (token !== INTERNAL) illegal();
    super();
    this.#end = end;
    end.port = this;
  }

  static {
    get = (port) => port.#end;
    is = (port) => isObject(port) && #end in port;
    attach = (port, end) => { port.#end = end; };
  }

  postMessage(message, options = undefined) {
    need(arguments.length, 1, "MessagePort.postMessage");
    const end = this.#end;
    const transfer = isObject(options) && typeof options[Symbol.iterator] === "function" ? options : options?.transfer;
    const list = transferList(transfer, "MessagePort.postMessage");
    if (list.includes(this)) throw new DOMException("A port cannot send itself", "DataCloneError");
    const packed = serialize(message, list);
    if (end?.other) {
      end.other.queue.push(packed);
      deliver(end.other);
    }
  }

  start() {
    const end = this.#end;
    if (!end || end.started) return;
    end.started = true;
    deliver(end);
  }

  close() {
    const end = this.#end;
    if (!end?.other) return;
    const { other } = end;
    end.other = other.other = null;
    end.queue.length = 0;
    if (other.port) startTimer(() => fire(other.port, new MessageEvent("close")), 0);
  }
}
Object.defineProperty(MessagePort, "length", { value: 0, configurable: true });
Object.defineProperty(MessagePort.prototype.postMessage, "length", { value: 1, configurable: true });
finish(MessagePort, "MessagePort");
handlerAttributes(MessagePort.prototype, "message", "messageerror", "close");

// Setting onmessage starts the port (9.4.4).
const onmessage = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
Object.defineProperty(MessagePort.prototype, "onmessage", {
  ...onmessage,
  set: { onmessage(value) { onmessage.set.call(this, value); this.start(); } }.onmessage,
});

function deliver(end) {
  if (!end.started || end.pending || end.port === null || end.queue.length === 0) return;
  end.pending = true;
  startTimer(() => {
    end.pending = false;
    const { port } = end, packed = port === null ? undefined : end.queue.shift();
    if (packed === undefined) return;
    try {
      const { value, ports } = deserialize(packed);
      fire(port, new MessageEvent("message", { data: value, ports }));
    } catch (error) {
      hooks.report(error);
    }
    deliver(end);
  }, 0);
}

export { is as isPort };

export function portMovable(port) {
  return get(port) !== null;
}

// Takes the end out of a port, for another port to have it.
export function packPort(port) {
  const end = get(port) ?? newEnd();
  attach(port, null);
  end.port = null;
  end.started = false;
  return end;
}

export function unpackPort(end) {
  return new MessagePort(INTERNAL, end);
}

export class MessageChannel {
  #port1;
  #port2;
  constructor() {
    const a = newEnd(), b = newEnd();
    a.other = b;
    b.other = a;
    this.#port1 = new MessagePort(INTERNAL, a);
    this.#port2 = new MessagePort(INTERNAL, b);
  }
  get port1() { return this.#port1; }
  get port2() { return this.#port2; }
}
finish(MessageChannel, "MessageChannel");
