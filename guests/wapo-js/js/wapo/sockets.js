// `Wapo.wsOpen`, `wsSend` and `wsClose`.
import native from "wapo:native";
import { Opaque, callable, flat, open, over, view } from "./handles.js";
import { messageOf } from "./streams.js";

const SENDER = "WebSocket's sender";

// What the connection itself is in charge of; the rest of the caller's fields are sent along.
const OWN_FIELDS = new Set(["connection", "host", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version", "upgrade"]);

export function wsOpen({ url, headers }, callback) {
  callable(callback, "wsOpen");
  const fields = flat(headers);
  const kept = [];
  let protocols = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "sec-websocket-protocol") protocols = fields[i + 1].split(",").map((name) => name.trim());
    else if (!OWN_FIELDS.has(fields[i])) kept.push(fields[i], fields[i + 1]);
  }
  const call = native.ws.open(String(url), protocols, kept);
  let connection = null;
  const id = open(() => { connection ? connection.kill() : call.abort(); });
  (async () => {
    try {
      connection = await call.conn;
      callback("open", new Opaque(SENDER, connection));
      for (;;) {
        const message = await connection.read();
        if (typeof message === "string") callback("message", { kind: "text", data: message });
        else if (message instanceof Uint8Array) callback("message", { kind: "binary", data: message });
        else return ended(message, callback);
      }
    } catch (error) {
      callback("error", messageOf(error));
    } finally {
      over(id);
    }
  })();
  return id;
}

function ended({ code, reason, clean }, callback) {
  if (clean) callback("message", { kind: "close", data: { code, reason } });
  else callback("error", "the connection broke");
}

export function wsSend(tx, { kind, data }) {
  const connection = Opaque.peek(tx, SENDER);
  if (kind === "text") connection.send(String(data));
  else if (kind === "binary") connection.send(view(data, "wsSend"));
  else throw new TypeError(`wsSend: ${kind} is no kind of message that can be sent`);
}

export function wsClose(tx) {
  Opaque.take(tx, SENDER).close(undefined, "");
}
