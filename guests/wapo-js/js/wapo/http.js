// `Wapo.httpListen` and its answers, and `Wapo.httpRequest`.
import native from "wapo:native";
import { Opaque, bytes, callable, flat, open, over, pairs } from "./handles.js";
import { READ, WRITE, messageOf } from "./streams.js";

const ANSWER = "request's answer";

let listener = null;

export function httpListen(callback) {
  listener = callable(callback, "httpListen");
  native.worker.listenersChanged();
}

export function hasHttpListener() {
  return listener !== null;
}

// Gives a request of the gateway to the listener.
export function dispatchToListener(exchange) {
  return deliver(exchange, listener, exchange.url);
}

// Gives an exchange to a function in the form of Wapo 0.x. A function that throws costs this request only.
export function deliver(exchange, callback, url) {
  const sink = Promise.withResolvers();
  sink.promise.catch(() => {});
  const tunnel = exchange.header("upgrade") === null || hasBody(exchange) ? null : Promise.withResolvers();
  tunnel?.promise.catch(() => {});
  try {
    callback({
      method: exchange.method,
      url,
      headers: pairs(exchange.headers),
      opaqueResponseTx: new Opaque(ANSWER, { exchange, sink, tunnel }),
      opaqueInputStream: new Opaque(READ, tunnel === null ? exchange.takeBody() : tunnelSource(tunnel.promise)),
      opaqueOutputStream: new Opaque(WRITE, sink.promise),
    });
  } catch (error) {
    exchange.fail();
    throw error;
  }
}

function hasBody(exchange) {
  return exchange.header("transfer-encoding") !== null || (exchange.header("content-length") ?? "0") !== "0";
}

// What comes after the head of a request for another protocol: nothing, unless it is answered with 101.
function tunnelSource(connection) {
  let source = null, isOver = false;
  return {
    async read() {
      source ??= (await connection)?.source() ?? null;
      return isOver || source === null ? null : source.read();
    },
    cancel() {
      isOver = true;
      source?.cancel();
    },
  };
}

export function sendHead(tx, { status = 200, headers } = {}) {
  const { exchange, sink, tunnel } = Opaque.take(tx, ANSWER);
  if (status === 101 && tunnel !== null) {
    const connection = exchange.tunnel(flat(headers));
    tunnel.resolve(connection);
    sink.resolve(connection.then((it) => it.sink()));
    return;
  }
  tunnel?.resolve(null);
  sink.resolve(exchange.start(status, flat(headers)));
}

// A status line and header lines, as text.
export function sendRawHead(tx, text) {
  const [line, ...fields] = String(text).split(/\r?\n/).filter((part) => part !== "");
  const status = /^HTTP\/\d(?:\.\d)? (\d{3})(?: |$)/.exec(line ?? "");
  if (!status) throw new TypeError("httpsSendResponseHeadRaw: expected a status line");
  const headers = fields.map((field) => {
    const colon = field.indexOf(":");
    if (colon < 1) throw new TypeError("httpsSendResponseHeadRaw: a header has no colon");
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  });
  sendHead(tx, { status: Number(status[1]), headers });
}

export function httpRequest(wish, callback) {
  callable(callback, "httpRequest");
  const { url, method = "GET", headers, body, streamBody = false } = wish;
  const call = native.http.request({
    method: String(method),
    url: String(url),
    headers: flat(headers),
    body: streamBody ? true : body === undefined || body === null ? null : bytes(body, "httpRequest"),
  });
  const id = open(() => call.abort());
  call.response.then((answer) => {
    over(id);
    callback("head", {
      status: answer.status,
      statusText: answer.statusText,
      version: "HTTP/1.1",
      headers: pairs(answer.headers),
      opaqueBodyStream: new Opaque(READ, answer.body),
    });
  }, (error) => {
    over(id);
    callback("error", messageOf(error));
  });
  return { cancelToken: id, opaqueBodyStream: streamBody ? new Opaque(WRITE, call.sink) : null };
}
