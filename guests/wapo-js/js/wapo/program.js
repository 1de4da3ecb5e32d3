// How classic scripts of Wapo 0.x hand over what they made: `module.exports`, `scriptOutput`.
import native from "wapo:native";

// Calls `module.exports` if it is a function; the engine awaits the result.
export async function callModuleEntry() {
  const entry = globalThis.module?.exports;
  if (typeof entry !== "function") return;
  const result = await entry();
  if (result !== undefined) globalThis.scriptOutput = result;
}

// Emits the program's output when it ends.
export function emitOutput() {
  const output = globalThis.scriptOutput;
  if (output === undefined || output === null) return;
  if (typeof output === "string" || output instanceof Uint8Array) native.worker.output(output);
  else if (typeof output === "object") native.worker.output(JSON.stringify(output) ?? "");
  else native.worker.output(String(output));
}
