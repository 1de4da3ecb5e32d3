// Lines for the command that runs the program (`wapo test`, `wapo repl`): JSON in ASCII, below the length at which the host would
// cut them.
import native from "wapo:native";

// A line of the log takes 16 KiB, the session's mark among them.
const LINE_MAX = 15_000;

export const options = () => JSON.parse(native.session.options() ?? "null");

// `key` names the member that is cut when the line is too long.
export function report(event, key = "text") {
  let line = encode(event);
  for (let text = event[key]; line.length > LINE_MAX && typeof text === "string" && text.length > 0;) {
    text = text.slice(0, Math.floor(text.length * 0.7));
    line = encode({ ...event, [key]: `${text}…` });
  }
  native.session.report(line);
}

function encode(event) {
  return JSON.stringify(event).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
