// Installs the globals of programs. Evaluated once, before the image of memory is taken.
import native from "wapo:native";

globalThis.console = {
  log: (...values) => native.log.print(2, values.map(String).join(" ")),
  error: (...values) => native.log.print(4, values.map(String).join(" ")),
};

native.http.serve((exchange) => {
  const handler = globalThis.handler;
  const answer = handler ? handler({ url: exchange.url, method: exchange.method, headers: exchange.headers }) : "no handler";
  exchange.respond(200, ["content-type", "text/plain"], answer);
});
