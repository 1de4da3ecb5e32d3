// `wapo:http`: a server of HTTP on a name or a port of the program's own, with handlers as `export default` has them.
import native from "wapo:native";
import { INTERNAL, dictionary, finish, illegal, need } from "../web/idl.js";
import { dispatch } from "../web/serve.js";
import { SocketError, rethrown } from "../wapo/socket-error.js";
import { limitsOf, listenNative } from "../wapo/listening.js";
import { Wapo } from "../wapo/object.js";

if (native.net === undefined) throw new TypeError("isolates have no sockets");

class Server {
  #listener;
  constructor(token, listener) {
    if (token !== INTERNAL) illegal();
    this.#listener = listener;
  }
  // "ip:port", or null for a name.
  get address() { return this.#listener.address; }
  // Takes no more connections. Requests that are under way are answered.
  close() { this.#listener.close(); }
}
finish(Server, "Server");

// serve({ serverName, certificate, key } or { port, … }, handler): the handler is a function of (request, env, ctx), or an object
// with such a function as `fetch`. Limits: maxConnections, headTimeout and idleTimeout (milliseconds).
export function serve(options, handler) {
  need(arguments.length, 2, "serve");
  if (typeof handler !== "function" && typeof handler?.fetch !== "function") throw new TypeError("serve: the handler is neither a function nor an object with fetch()");
  const limits = limitsOf(dictionary(options, "serve"), "serve");
  const listener = rethrown(() => listenNative(options, "serve"));
  native.server.serve(listener, (exchange) => dispatch(exchange, handler, Wapo.env), limits);
  return new Server(INTERNAL, listener);
}

export { SocketError };
export default { serve, SocketError };
