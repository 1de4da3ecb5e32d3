// Events: Event, CustomEvent, ErrorEvent, MessageEvent, CloseEvent, PromiseRejectionEvent.
// DOM Living Standard, 2.2 and 2.4; HTML 8.1.4.5 (ErrorEvent), 8.1.6.4 (PromiseRejectionEvent), 9.1 (MessageEvent);
// WebSockets Standard, 6 (CloseEvent). There is no tree, so there is no capturing above the target.
import { dictionary, finish, isObject, need, sequence, text, unsignedLong, unsignedShort, usv } from "./idl.js";
import { now } from "./clock.js";

let get, is;

export class Event {
  #s;

  constructor(type, init = undefined) {
    need(arguments.length, 1, "Event");
    const name = text(type);
    const d = dictionary(init, "Event");
    this.#s = {
      type: name, bubbles: !!d.bubbles, cancelable: !!d.cancelable, composed: !!d.composed,
      target: null, current: null, phase: 0, stop: false, stopNow: false, canceled: false, passive: false,
      dispatching: false, trusted: false, time: now(), path: null,
    };
  }

  static {
    get = (e) => e.#s;
    is = (e) => isObject(e) && #s in e;
  }

  get type() { return this.#s.type; }
  get target() { return this.#s.target; }
  get srcElement() { return this.#s.target; }
  get currentTarget() { return this.#s.current; }
  composedPath() { return this.#s.current === null ? [] : [this.#s.current]; }
  get eventPhase() { return this.#s.phase; }
  stopPropagation() { this.#s.stop = true; }
  get cancelBubble() { return this.#s.stop; }
  set cancelBubble(value) { if (value) this.#s.stop = true; }
  stopImmediatePropagation() { this.#s.stop = this.#s.stopNow = true; }
  get bubbles() { return this.#s.bubbles; }
  get cancelable() { return this.#s.cancelable; }
  get returnValue() { return !this.#s.canceled; }
  set returnValue(value) { if (!value) cancel(this.#s); }
  preventDefault() { cancel(this.#s); }
  get defaultPrevented() { return this.#s.canceled; }
  get composed() { return this.#s.composed; }
  get timeStamp() { return this.#s.time; }
  initEvent(type, bubbles = false, cancelable = false) {
    need(arguments.length, 1, "Event.initEvent");
    const s = this.#s, name = text(type);
    if (s.dispatching) return;
    s.stop = s.stopNow = s.canceled = s.trusted = false;
    s.target = null;
    s.type = name;
    s.bubbles = !!bubbles;
    s.cancelable = !!cancelable;
  }
}

function cancel(s) {
  if (s.cancelable && !s.passive) s.canceled = true;
}

// isTrusted is [LegacyUnforgeable] in DOM, an own property of each event. As a getter of the prototype it costs nothing.
Object.defineProperty(Event.prototype, "isTrusted", { get() { return get(this).trusted; }, enumerable: true, configurable: true });
finish(Event, "Event", { constants: { NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 } });

export { get as eventState, is as isEvent };

export class CustomEvent extends Event {
  #detail;
  constructor(type, init = undefined) {
    need(arguments.length, 1, "CustomEvent");
    super(type, init);
    this.#detail = init?.detail ?? null;
  }
  get detail() { return this.#detail; }
  initCustomEvent(type, bubbles = false, cancelable = false, detail = null) {
    need(arguments.length, 1, "CustomEvent.initCustomEvent");
    if (get(this).dispatching) return;
    this.initEvent(type, bubbles, cancelable);
    this.#detail = detail;
  }
}
finish(CustomEvent, "CustomEvent");

export class ErrorEvent extends Event {
  #s;
  constructor(type, init = undefined) {
    need(arguments.length, 1, "ErrorEvent");
    super(type, init);
    const d = dictionary(init, "ErrorEvent");
    this.#s = {
      message: d.message === undefined ? "" : text(d.message),
      filename: d.filename === undefined ? "" : usv(d.filename),
      lineno: unsignedLong(d.lineno ?? 0), colno: unsignedLong(d.colno ?? 0), error: d.error,
    };
  }
  get message() { return this.#s.message; }
  get filename() { return this.#s.filename; }
  get lineno() { return this.#s.lineno; }
  get colno() { return this.#s.colno; }
  get error() { return this.#s.error; }
}
finish(ErrorEvent, "ErrorEvent");

export class MessageEvent extends Event {
  #s;
  constructor(type, init = undefined) {
    need(arguments.length, 1, "MessageEvent");
    super(type, init);
    const d = dictionary(init, "MessageEvent");
    const { data = null, origin = "", lastEventId = "", source = null, ports = [] } = d;
    this.#s = {
      data, origin: usv(origin), lastEventId: text(lastEventId), source,
      ports: Object.freeze(sequence(ports, (p) => p, "MessageEvent ports")),
    };
  }
  get data() { return this.#s.data; }
  get origin() { return this.#s.origin; }
  get lastEventId() { return this.#s.lastEventId; }
  get source() { return this.#s.source; }
  get ports() { return this.#s.ports; }
}
finish(MessageEvent, "MessageEvent");

export class CloseEvent extends Event {
  #s;
  constructor(type, init = undefined) {
    need(arguments.length, 1, "CloseEvent");
    super(type, init);
    const { wasClean = false, code = 0, reason = "" } = dictionary(init, "CloseEvent");
    this.#s = { wasClean: !!wasClean, code: unsignedShort(code), reason: usv(reason) };
  }
  get wasClean() { return this.#s.wasClean; }
  get code() { return this.#s.code; }
  get reason() { return this.#s.reason; }
}
finish(CloseEvent, "CloseEvent");

export class PromiseRejectionEvent extends Event {
  #s;
  constructor(type, init) {
    need(arguments.length, 2, "PromiseRejectionEvent");
    super(type, init);
    const d = dictionary(init, "PromiseRejectionEvent");
    if (d.promise === undefined) throw new TypeError("PromiseRejectionEvent: the options have no promise");
    this.#s = { promise: d.promise, reason: d.reason };
  }
  get promise() { return this.#s.promise; }
  get reason() { return this.#s.reason; }
}
finish(PromiseRejectionEvent, "PromiseRejectionEvent");

// An event that the platform itself makes: it is trusted.
export function trusted(event) {
  get(event).trusted = true;
  return event;
}
