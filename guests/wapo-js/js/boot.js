// Makes the global scope of programs. Evaluated once, before the image of memory is taken.
// The default export holds what the engine calls; none of it throws but where it is said.
import { dispatch, hasFetchListener, install, rejection, report } from "./boot-web.js";
import native from "wapo:native";
import { logFailure, words } from "./web/report.js";
import { mapStacks } from "./web/source-map.js";
import { Wapo } from "./wapo/object.js";
import { dispatchToListener, hasHttpListener } from "./wapo/http.js";
import { SCALE, ScaleCodec } from "./wapo/scale.js";
import { loaded } from "./wapo/loaded.js";
import { callModuleEntry, emitOutput, outcome } from "./wapo/program.js";
import { installNode } from "./wapo/require.js";

install(globalThis);
for (const [name, value] of Object.entries({ Wapo, global: globalThis, window: globalThis, print: console.log, SCALE, ScaleCodec })) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
Object.defineProperty(globalThis, "scriptLogs", { get: () => native.log.kept() ?? "[]", configurable: true, enumerable: false });
installNode(globalThis);

const answers = (handler) => typeof handler?.fetch === "function" || hasFetchListener();

// Whether `query` of a default export is for queries. That of a router adds a route, as its `get` and `post` do.
function answersQueries(handler) {
  if (typeof handler?.query !== "function") return false;
  const isRouter = Array.isArray(handler.routes) || (typeof handler.get === "function" && typeof handler.post === "function");
  return !isRouter;
}

export default {
  dispatch(exchange, handler) {
    if (hasHttpListener() && !answers(handler)) {
      try {
        dispatchToListener(exchange);
      } catch (error) {
        report(error);
      }
      return;
    }
    dispatch(exchange, handler ?? null, Wapo.env);
  },
  rejection,
  report,
  // The text of what was thrown, if this code has better words for it than the engine; else undefined.
  words,
  isServing: (handler) => answers(handler) || hasHttpListener(),
  // Throws what the program throws.
  callModuleEntry,
  mapStacks,
  // Begins what the default export asks for besides requests. Called once a program was evaluated.
  begin(handler) {
    loaded();
    if (answersQueries(handler)) native.worker.listenQueries((call) => query(handler, call));
  },
  // Throws what the output throws when it is looked at.
  outcome,
  emitOutput() {
    try {
      emitOutput();
    } catch (error) {
      logFailure("the output: ", error);
    }
  },
};

async function query(handler, call) {
  try {
    const answer = await handler.query({ path: call.path, payload: call.payload, origin: call.origin }, Wapo.env);
    call.reply(answer ?? null);
  } catch (error) {
    call.fail("internal error");
    logFailure("a query failed: ", error);
  }
}
