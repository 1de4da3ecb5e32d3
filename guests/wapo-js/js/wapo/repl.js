// The prompt of `wapo repl`: evaluates a text and tells its value, as console.log would show it. Called by the engine
// (`src/repl.rs`), which hands texts over one at a time.
import native from "wapo:native";
import { inspect, ownFrames, safeInspect } from "../web/inspect.js";
import { report } from "./session.js";

// Texts so far; the number of the one that the caller waits for, or 0.
let count = 0, waiting = 0;

async function run(text, number) {
  let state = "value", shown;
  try {
    const { value } = await begin(text);
    define("_", value);
    shown = inspect(value);
  } catch (error) {
    define("_error", error);
    state = "error";
    shown = describe(error);
  }
  tell(number, state, shown);
}

// What begins with a brace is an object, if it can be one.
function begin(text) {
  if (/^\s*\{/.test(text) && !/;\s*$/.test(text)) {
    try {
      return native.session.evaluate(`(${text}\n)`);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return native.session.evaluate(text);
}

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

// An error of the text itself has no stack that tells anything.
function describe(error) {
  const stack = error instanceof Error && typeof error.stack === "string" ? ownFrames(error.stack) : null;
  if (stack !== null && !stack.includes("<repl>:")) return `Uncaught ${error.name}: ${error.message}`;
  return `Uncaught ${safeInspect(error)}`;
}

// Tells the outcome of the text that is waited for; others have had theirs.
function tell(number, state, text) {
  if (number !== waiting || native.session.isOver()) return;
  waiting = 0;
  report({ event: "outcome", state, text });
}

export default {
  evaluate(text) {
    waiting = ++count;
    run(text, waiting);
  },
  interrupt() {
    if (waiting !== 0) tell(waiting, "interrupted", "");
  },
};
