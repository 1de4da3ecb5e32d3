// A server's request: from the engine's exchange to a handler and back.
// The handler is `export default { fetch(request, env, ctx) }`, or listeners of the "fetch" event (Service Workers, 4.6 FetchEvent).
// Nothing that a handler does may leave the exchange open or tell the client of the inside of the program.
import native from "wapo:native";
import { Event } from "./event.js";
import { fire, hasListeners, hooks } from "./event-target.js";
import { INTERNAL, finish, illegal, need } from "./idl.js";
import { isUnusable, take, takePlain } from "./body.js";
import { isResponse, responseState } from "./response.js";
import { clientGone, isRequest, requestOfExchange } from "./request.js";
import { stop } from "./streams.js";
import { logFailure } from "./report.js";
import { acceptSocket } from "./websocket-pair.js";

class ExecutionContext {
  constructor(token) {
    if (token !== INTERNAL) illegal();
  }
  waitUntil(promise) {
    need(arguments.length, 1, "waitUntil");
    watch(promise);
  }
}
finish(ExecutionContext, "ExecutionContext");

// Work that goes on after the answer: its failure is told in the log.
function watch(promise) {
  new Promise((resolve) => resolve(promise)).catch((error) => logFailure("waitUntil: ", error));
}

let makeEvent, answerOf;

export class FetchEvent extends Event {
  #request;
  #answer = undefined;
  #open = true;

  constructor(type, init) {
    need(arguments.length, 2, "FetchEvent");
    super(type, init);
    if (!isRequest(init?.request)) throw new TypeError("FetchEvent: the options have no request");
    this.#request = init.request;
  }

  static {
    makeEvent = (request) => new FetchEvent("fetch", { request, cancelable: true });
    answerOf = (event) => {
      event.#open = false;
      return event.#answer;
    };
  }

  get request() { return this.#request; }

  respondWith(response) {
    need(arguments.length, 1, "FetchEvent.respondWith");
    if (!this.#open || this.#answer !== undefined) throw new DOMException("The event was answered already, or its time is over", "InvalidStateError");
    this.#answer = { response };
    this.stopImmediatePropagation();
  }

  waitUntil(promise) {
    need(arguments.length, 1, "FetchEvent.waitUntil");
    watch(promise);
  }
}
finish(FetchEvent, "FetchEvent");

hooks.changed.fetch = () => native.worker.listenersChanged();

export function hasFetchListener() {
  return hasListeners(globalThis, "fetch");
}

// Never throws. `handler` is the program's default export, or null when it has listeners.
export function dispatch(exchange, handler, env) {
  let result;
  try {
    const request = requestOfExchange(exchange);
    result = handler === null || handler === undefined
      ? askListeners(request)
      : typeof handler === "function" ? handler(request, env, new ExecutionContext(INTERNAL)) : handler.fetch(request, env, new ExecutionContext(INTERNAL));
  } catch (error) {
    return fail(exchange, error);
  }
  if (isResponse(result)) return answer(exchange, result);
  wait(exchange, result);
}

function askListeners(request) {
  const event = makeEvent(request);
  fire(globalThis, event);
  const given = answerOf(event);
  if (given === undefined) throw new TypeError("no listener of \"fetch\" has answered the request");
  return given.response;
}

async function wait(exchange, result) {
  let response;
  try {
    response = await result;
  } catch (error) {
    return fail(exchange, error);
  }
  if (isResponse(response)) answer(exchange, response);
  else fail(exchange, new TypeError("the handler gave something that is no Response"));
}

function fail(exchange, error) {
  logFailure("Request failed: ", error);
  try { exchange.fail(); } catch { /* the exchange is over */ }
}

function answer(exchange, response) {
  try {
    const s = responseState(response);
    if (s.webSocket !== null) return acceptSocket(exchange, s.webSocket, s.list);
    if (s.status === 0) throw new TypeError("the handler gave a network error response");
    if (s.body === null) return void exchange.respond(s.status, s.list, null);
    if (isUnusable(s.body)) throw new TypeError("the body of the response was read already or its stream is locked");
    const plain = takePlain(s.body);
    if (plain !== null) return void exchange.respond(s.status, s.list, plain);
    const { source } = take(s.body);
    if (exchange.method === "HEAD") {
      exchange.respond(s.status, s.list, null);
      return stop(source, undefined);
    }
    pump(exchange, s, source).catch((error) => {
      stop(source, error);
      fail(exchange, error);
    });
  } catch (error) {
    fail(exchange, error);
  }
}

// Sends a body as it comes. One that fails, or gives something else than bytes, is cut: its end is never sent.
async function pump(exchange, s, source) {
  const sink = exchange.start(s.status, s.list);
  let writing = false, gone = false;
  exchange.onAbort(() => {
    gone = true;
    stop(source, clientGone());
  });
  try {
    for (let chunk; (writing = false, chunk = await source.read()) !== null;) {
      writing = true;
      await sink.write(chunk);
    }
    if (!gone) await sink.close();
  } catch (error) {
    sink.abort();
    if (writing || gone) return stop(source, clientGone());
    stop(source, error);
    logFailure("The body of a response failed: ", error);
  }
}
