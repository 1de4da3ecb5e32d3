// How classic scripts of Wapo 0.x hand over what they made: `module.exports`, `scriptOutput`. Programs emit it as their output;
// isolates give it to their creator.
import native from "wapo:native";
import { serialize, serializeData } from "../web/clone.js";

const isText = (value) => typeof value === "string" || typeof value === "number" || value instanceof Uint8Array;

// Calls `module.exports` if it is a function; the engine awaits the result.
export async function callModuleEntry() {
  const entry = globalThis.module?.exports;
  if (typeof entry === "function") {
    const result = await entry();
    if (result !== undefined) globalThis.scriptOutput = result;
  }
  const output = globalThis.scriptOutput;
  if (output === undefined || isText(output)) return;
  try {
    globalThis.serializedScriptOutput = JSON.stringify({ output });
  } catch { /* what has no text has no serialized form */ }
}

// What is to be done when the program ends, before its output.
export const atEnd = [];

// Emits the program's output when it ends.
export function emitOutput() {
  for (const action of atEnd) action();
  const output = globalThis.scriptOutput;
  if (output === undefined || output === null) return;
  if (typeof output === "string" || output instanceof Uint8Array) native.worker.output(output);
  else if (typeof output === "object") native.worker.output(JSON.stringify(output) ?? "");
  else native.worker.output(String(output));
}

// What an isolate has made: the records of its output, and `serializedScriptOutput`. Throws when the output has no clone.
export function outcome() {
  const { scriptOutput: output, serializedScriptOutput: text } = globalThis;
  const serialized = typeof text === "string" ? text : null;
  return { record: records(output, serialized), serialized };
}

function records(output, serialized) {
  if (typeof output === "function" || typeof output === "symbol") return serialize(undefined, []).root;
  try {
    return serializeData(output).root;
  } catch (error) {
    // What else has no clone came as text with Wapo 0.x; here it does when there is no other way.
    if (serialized === null || error?.name !== "DataCloneError") throw error;
    return serialize(JSON.parse(serialized).output, []).root;
  }
}
