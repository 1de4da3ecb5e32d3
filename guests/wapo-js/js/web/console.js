// console.
// Console Standard, 1 and 2. Levels go to the engine's log as they are; groups indent.
import native from "wapo:native";
import { tag, text } from "./idl.js";
import { safeInspect } from "./inspect.js";

const DEBUG = 1, INFO = 2, WARN = 3, ERROR = 4;
// Labels of counters and timers that are kept: names made of request data must not fill the memory.
const LABELS_MAX = 1000;
const GROUPS_MAX = 40;

const counts = new Map(), timers = new Map();
let indent = "";

function print(level, message) {
  try {
    native.log.message(level, indent === "" ? message : indent + message.replaceAll("\n", `\n${indent}`));
  } catch { /* a console never throws */ }
}

const one = (value) => (typeof value === "string" ? value : safeInspect(value));

// 2.2.1 Formatter: %s %d %i %f %j %o %O %c %% in the first argument.
export function format(args) {
  let at = 1, head = "";
  if (typeof args[0] === "string") head = args.length === 1 ? args[0] : args[0].replace(/%[sdifjoOc%]/g, (m) => (m === "%%" ? "%" : at < args.length ? formatOne(m, args[at++]) : m));
  else if (args.length > 0) head = safeInspect(args[0]);
  for (; at < args.length; at++) head += ` ${one(args[at])}`;
  return head;
}

function formatOne(specifier, value) {
  try {
    switch (specifier) {
      case "%s": return typeof value === "object" && value !== null || typeof value === "function" ? safeInspect(value, { depth: 0 }) : typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : String(value);
      case "%d": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" || typeof value === "object" ? "NaN" : String(Number(value));
      case "%i": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" || typeof value === "object" ? "NaN" : String(parseInt(value, 10));
      case "%f": return typeof value === "symbol" ? "NaN" : String(parseFloat(value));
      case "%j": return JSON.stringify(value) ?? "undefined";
      case "%o": return safeInspect(value, { depth: 4, showHidden: true });
      case "%O": return safeInspect(value, { depth: 4 });
      default: return "";
    }
  } catch {
    return safeInspect(value);
  }
}

// Converting it is the one thing of a console that may throw (Web IDL, DOMString).
const label = (value) => (value === undefined ? "default" : text(value));

function keep(map, key, value) {
  if (!map.has(key) && map.size >= LABELS_MAX) map.delete(map.keys().next().value);
  map.set(key, value);
}

function elapsed(name, rest) {
  if (!timers.has(name)) return void print(WARN, `Timer '${name}' does not exist`);
  const ms = native.time.now() - timers.get(name);
  const spent = ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${ms.toFixed(3)}ms`;
  print(INFO, [`${name}: ${spent}`, ...rest.map(one)].join(" "));
}

function stackHere() {
  const stack = new Error().stack ?? "";
  return stack.split("\n").filter((line) => /^\s*at /.test(line)).slice(2).join("\n");
}

// Rows of a table: each member of the data is a row, its members are columns.
function rowsOf(data, wanted) {
  const entries = data instanceof Map || data instanceof Set ? [...data.entries()].map(([k, v], i) => (data instanceof Set ? [i, v] : [k, v])) : Object.entries(data);
  const columns = [], rows = [];
  let plain = false;
  for (const [index, value] of entries.slice(0, LABELS_MAX)) {
    const cells = new Map();
    if (typeof value === "object" && value !== null) {
      for (const [k, v] of Object.entries(value)) {
        if (wanted && !wanted.includes(k)) continue;
        if (!columns.includes(k)) columns.push(k);
        cells.set(k, safeInspect(v, { depth: 0 }));
      }
    } else {
      plain = true;
      cells.set(VALUES, safeInspect(value));
    }
    rows.push([typeof index === "string" ? index : safeInspect(index), cells]);
  }
  const all = wanted ?? columns;
  return { columns: plain ? [...all, VALUES] : all, rows };
}
const VALUES = Symbol("Values");

function table(data, wanted) {
  const { columns, rows } = rowsOf(data, wanted === undefined ? undefined : [...wanted].map(String));
  const head = ["(index)", ...columns.map((c) => (c === VALUES ? "Values" : c))];
  const body = rows.map(([index, cells]) => [index, ...columns.map((c) => cells.get(c) ?? "")]);
  const widths = head.map((h, i) => Math.max(h.length, ...body.map((r) => r[i].length)) + 2);
  const line = (left, mid, right) => left + widths.map((w) => "─".repeat(w)).join(mid) + right;
  const row = (cells) => `│${cells.map((c, i) => ` ${c}`.padEnd(widths[i])).join("│")}│`;
  return [line("┌", "┬", "┐"), row(head), line("├", "┼", "┤"), ...body.map(row), line("└", "┴", "┘")].join("\n");
}

const methods = {
  assert(condition = false, ...data) {
    if (condition) return;
    if (typeof data[0] === "string") data[0] = `Assertion failed: ${data[0]}`;
    else data.unshift("Assertion failed");
    print(ERROR, format(data));
  },
  clear() {},
  count(name = "default") {
    const key = label(name), n = (counts.get(key) ?? 0) + 1;
    keep(counts, key, n);
    print(INFO, `${key}: ${n}`);
  },
  countReset(name = "default") {
    const key = label(name);
    if (counts.has(key)) counts.set(key, 0);
    else print(WARN, `Count for '${key}' does not exist`);
  },
  debug(...data) { print(DEBUG, format(data)); },
  dir(item = undefined, options = undefined) { print(INFO, safeInspect(item, options)); },
  dirxml(...data) { print(INFO, format(data)); },
  error(...data) { print(ERROR, format(data)); },
  group(...data) {
    if (data.length > 0) print(INFO, format(data));
    if (indent.length < GROUPS_MAX * 2) indent += "  ";
  },
  groupCollapsed(...data) { methods.group(...data); },
  groupEnd() { indent = indent.slice(2); },
  info(...data) { print(INFO, format(data)); },
  log(...data) { print(INFO, format(data)); },
  table(data = undefined, columns = undefined) {
    if (typeof data !== "object" || data === null) return methods.log(data);
    let out;
    try { out = table(data, columns); } catch { out = safeInspect(data); }
    print(INFO, out);
  },
  time(name = "default") {
    const key = label(name);
    if (timers.has(key)) print(WARN, `Timer '${key}' already exists`);
    else keep(timers, key, native.time.now());
  },
  timeEnd(name = "default") {
    const key = label(name);
    elapsed(key, []);
    timers.delete(key);
  },
  timeLog(name = "default", ...data) { elapsed(label(name), data); },
  trace(...data) { print(INFO, `Trace${data.length > 0 ? `: ${format(data)}` : ""}\n${stackHere()}`.trimEnd()); },
  warn(...data) { print(WARN, format(data)); },
};

export const console = Object.assign(Object.create({}), methods);
tag(console, "console");
