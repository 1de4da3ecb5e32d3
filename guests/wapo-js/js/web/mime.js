// MIME types as far as bodies need them: essence and parameters of a Content-Type.
// MIME Sniffing Living Standard, 4.4 (parse a MIME type) and 4.5 (serialize).
import { TOKEN, trimmed } from "./idl.js";

// A space at the beginning is not white space to be dropped here: it makes the type invalid.
const trimmedEnd = (s) => trimmed(`.${s}`).slice(1);

// { essence, parameters: Map } or null when the text is no MIME type.
export function parseMime(input) {
  const s = trimmed(input);
  const slash = s.indexOf("/");
  if (slash <= 0) return null;
  const semicolon = s.indexOf(";", slash);
  const type = s.slice(0, slash), subtype = trimmedEnd(s.slice(slash + 1, semicolon < 0 ? undefined : semicolon));
  if (!TOKEN.test(type) || !TOKEN.test(subtype)) return null;
  const parameters = new Map();
  if (semicolon >= 0) readParameters(s, semicolon, parameters);
  return { essence: `${type}/${subtype}`.toLowerCase(), parameters };
}

function readParameters(s, start, out) {
  let at = start;
  while (at < s.length) {
    at++;
    while (at < s.length && /[\t\n\r ]/.test(s[at])) at++;
    let end = at;
    while (end < s.length && s[end] !== ";" && s[end] !== "=") end++;
    const name = s.slice(at, end).toLowerCase();
    at = end;
    if (s[at] !== "=") continue;
    at++;
    let value;
    if (s[at] === '"') {
      value = "";
      for (at++; at < s.length && s[at] !== '"'; at++) {
        if (s[at] === "\\" && at + 1 < s.length) at++;
        value += s[at];
      }
      while (at < s.length && s[at] !== ";") at++;
    } else {
      const stop = s.indexOf(";", at) < 0 ? s.length : s.indexOf(";", at);
      value = trimmedEnd(s.slice(at, stop));
      at = stop;
      if (value === "") continue;
    }
    if (TOKEN.test(name) && !/[^\t\x20-\x7e\x80-\xff]/.test(value) && !out.has(name)) out.set(name, value);
  }
}

export function serializeMime({ essence, parameters }) {
  let out = essence;
  for (const [name, value] of parameters) {
    out += `;${name}=${TOKEN.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`}`;
  }
  return out;
}
