// Installs the globals of programs. Evaluated once, before the image of memory is taken.
// The default export holds what the engine calls; none of it throws.
import native from "wapo:native";

const print = (level) => (...values) => native.log.print(level, values.map(String).join(" "));
globalThis.console = { log: print(2), error: print(4) };
globalThis.setTimeout = (fn, ms = 0) => native.timers.set(ms, fn);

export default {
  dispatch(exchange, handler) {
    const answer = handler ? handler.fetch({ url: exchange.url, headers: exchange.headers }) : "no handler";
    exchange.respond(200, ["content-type", "text/plain"], answer);
  },
  rejection(promise, reason, isHandled) {
    if (!isHandled) native.log.print(4, `unhandled rejection: ${reason}\n${reason?.stack}`);
  },
  report(error) {
    native.log.print(4, `uncaught: ${error}`);
  },
  isServing: (handler) => typeof handler?.fetch === "function",
};
