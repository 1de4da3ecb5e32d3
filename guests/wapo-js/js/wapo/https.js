// `Wapo.httpsListen`: HTTP/1.1 for a name on the worker's TLS port, or on a port, plain or with an attested certificate, with the callbacks of Wapo 0.x.
import native from "wapo:native";
import { callable, open, over } from "./handles.js";
import { deliver } from "./http.js";
import { attestedNames, limitsOf, listenNative } from "./listening.js";
import { logFailure } from "../web/report.js";

const WHERE = "httpsListen";

export function httpsListen(config, callback) {
  callable(callback, WHERE);
  const { serverName, certificateChain, privateKey, attested, address } = config;
  const listener = address === undefined || address === null
    ? listenNative({ serverName, certificate: certificateChain, key: privateKey, attested }, WHERE)
    : native.net.listen({ address: String(address), attested: attestedNames(attested, {}, WHERE) });
  native.server.serve(listener, (exchange) => {
    try {
      deliver(exchange, callback, exchange.target);
    } catch (error) {
      logFailure("Request failed: ", error);
    }
  }, limitsOf(config, WHERE));
  const id = open(() => { over(id); listener.close(); });
  return id;
}
