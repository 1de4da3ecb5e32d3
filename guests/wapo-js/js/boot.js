// Makes the global scope of programs. Evaluated once, before the image of memory is taken.
// The default export holds what the engine calls; none of it throws.
import { dispatch, hasFetchListener, install, rejection, report } from "./boot-web.js";

install(globalThis);

const env = Object.freeze({});

export default {
  dispatch(exchange, handler) {
    dispatch(exchange, handler ?? null, env);
  },
  rejection,
  report,
  isServing: (handler) => typeof handler?.fetch === "function" || hasFetchListener(),
};
