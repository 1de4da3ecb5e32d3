// Values as text for people: what console.log and error reports print. The form is the usual one of server runtimes.
// No standard (Console Standard, 2.3 leaves it open). Getters are not called, output is bounded, and nothing escapes
// from here: a value that fights back (proxies, throwing getters) is shown as far as it can be.
import native from "wapo:native";
import { isBuffer } from "./idl.js";

const DEPTH = 2;
// Each level is indented: without a bound the text would grow with the square of the depth.
const DEPTH_MAX = 40;
const ITEMS_MAX = 100;
// Above this length nothing is looked for beyond the items shown: listing the keys of a long array takes its length.
const LONG = 1000;
const LINE_MAX = 72;
// Text of one string, and of everything of one call: a log line must not grow with the data of a stranger.
const STRING_MAX = 10_000;
const TOTAL_MAX = 64 * 1024;
// What an object counts against it, besides its members.
const OBJECT_COST = 16;
const CUSTOM = Symbol.for("nodejs.util.inspect.custom");

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;
const getter = (cls, key) => Object.getOwnPropertyDescriptor(cls.prototype, key).get;
const mapSize = getter(Map, "size"), setSize = getter(Set, "size");
const typedName = getter(Object.getPrototypeOf(Uint8Array), Symbol.toStringTag);
const typedLength = getter(Object.getPrototypeOf(Uint8Array), "length");
const regexpSource = getter(RegExp, "source");

// How objects of the platform are shown: a function from prototype to the members worth showing.
const shows = new Map();
export function showAs(cls, members) {
  shows.set(cls.prototype, members);
}

function takes(f, value) {
  try {
    return { result: f.call(value) };
  } catch {
    return null;
  }
}

export function inspect(value, options = undefined) {
  const depth = options?.depth === undefined ? DEPTH : options.depth === null ? DEPTH_MAX : Math.min(+options.depth, DEPTH_MAX);
  const state = { depth, left: TOTAL_MAX, path: [], circular: new Map(), hidden: !!options?.showHidden };
  return show(value, state, 0);
}
inspect.custom = CUSTOM;

// Never throws, whatever the value is.
export function safeInspect(value, options) {
  try {
    return inspect(value, options);
  } catch {
    return "[a value that cannot be shown]";
  }
}

export function quote(s) {
  const cut = s.length > STRING_MAX ? s.slice(0, STRING_MAX) : s;
  const mark = !cut.includes("'") ? "'" : !cut.includes('"') ? '"' : !cut.includes("`") && !cut.includes("${") ? "`" : "'";
  const body = cut.toWellFormed().replace(/[\0-\x1f\x7f-\x9f\\]/g, escape1);
  const more = s.length > cut.length ? `... ${s.length - cut.length} more characters` : "";
  return mark + (mark === "'" ? body.replace(/'/g, "\\'") : body) + mark + more;
}

const ESCAPES = { "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\\": "\\\\" };
function escape1(c) {
  return ESCAPES[c] ?? `\\x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

function show(value, state, level) {
  if (state.left <= 0) return "...";
  const nested = (typeof value === "object" && value !== null) || typeof value === "function";
  const text = nested ? showObject(value, state, level) : showPrimitive(value);
  state.left -= nested ? OBJECT_COST : text.length + 4;
  return text;
}

function showPrimitive(value) {
  if (typeof value === "string") return quote(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  return String(value);
}

function showObject(value, state, level) {
  if (state.path.includes(value)) {
    if (!state.circular.has(value)) state.circular.set(value, state.circular.size + 1);
    return `[Circular *${state.circular.get(value)}]`;
  }
  const custom = takes(() => value[CUSTOM], value)?.result;
  if (typeof custom === "function" && custom !== inspect) {
    const given = takes(() => custom.call(value, state.depth - level, { depth: state.depth - level }, inspect), value);
    if (given && given.result !== value) return typeof given.result === "string" ? given.result.slice(0, STRING_MAX) : show(given.result, state, level + 1);
  }
  state.path.push(value);
  let text;
  try {
    text = describe(value, state, level);
  } catch {
    text = "[a value that cannot be shown]";
  }
  state.path.pop();
  const reference = state.circular.get(value);
  return reference === undefined ? text : `<ref *${reference}> ${text}`;
}

// The constructor's name of the nearest prototype that has one, without calling getters.
function nameOf(value) {
  for (let p = value, n = 0; p !== null && n < 20; p = Object.getPrototypeOf(p), n++) {
    const d = Object.getOwnPropertyDescriptor(p, "constructor");
    if (typeof d?.value === "function" && typeof d.value.name === "string" && d.value.name !== "") return d.value.name;
  }
  return null;
}

function tagOf(value, name) {
  for (let p = value, n = 0; p !== null && n < 20; p = Object.getPrototypeOf(p), n++) {
    const d = Object.getOwnPropertyDescriptor(p, Symbol.toStringTag);
    if (d) return typeof d.value === "string" && d.value !== "" && d.value !== name ? d.value : null;
  }
  return null;
}

function prefix(value, fallback, size) {
  const name = nameOf(value), tag = tagOf(value, name);
  const sized = size === undefined ? "" : `(${size})`;
  const head = name === null ? `[${fallback}${sized}: null prototype] ` : `${name}${sized} `;
  return tag === null ? head : `${head}[${tag}] `;
}

function describe(value, state, level) {
  if (typeof value === "function") return describeFunction(value, state, level);
  if (Array.isArray(value)) {
    const head = prefix(value, "Array", value.length);
    return list(head === `Array(${value.length}) ` ? "" : head, "[", "]", value, state, level, (l) => items(value, state, l));
  }
  // A literal is none of the special kinds; each check of them costs an exception.
  const ordinary = Object.getPrototypeOf(value) === Object.prototype && Object.prototype.toString.call(value) === "[object Object]";
  const special = ordinary ? undefined : describeSpecial(value, state, level);
  if (special !== undefined) return special;
  for (let p = Object.getPrototypeOf(value), n = 0; p !== null && n < 20; p = Object.getPrototypeOf(p), n++) {
    const members = shows.get(p);
    if (members) return list(prefix(value, "Object"), "{", "}", value, state, level, (l) => pairs(Object.entries(members(value)), state, l));
  }
  const head = prefix(value, "Object");
  return list(head === "Object " ? "" : head, "{", "}", value, state, level, () => []);
}

function describeFunction(value, state, level) {
  const source = takes(Function.prototype.toString, value)?.result ?? "";
  const d = Object.getOwnPropertyDescriptor(value, "name");
  const name = typeof d?.value === "string" ? d.value : "";
  let base;
  if (/^class\b/.test(source)) {
    const parent = Object.getPrototypeOf(value);
    base = `[class ${name || "(anonymous)"}${typeof parent === "function" && parent.name ? ` extends ${parent.name}` : ""}]`;
  } else {
    const kind = Object.getPrototypeOf(value)?.[Symbol.toStringTag] ?? "Function";
    base = `[${typeof kind === "string" ? kind : "Function"}${name ? `: ${name}` : " (anonymous)"}]`;
  }
  const keys = Object.keys(value);
  return keys.length === 0 ? base : list(`${base} `, "{", "}", value, state, level, () => []);
}

function describeSpecial(value, state, level) {
  // Without a tag of its own, a value that says "Object" here has no slots of Date, RegExp, Boolean, Number or String.
  const boxed = Object.prototype.toString.call(value) === "[object Object]" ? undefined : describeBoxed(value);
  if (boxed !== undefined) return keysOf(value).some((k) => !(typeof k === "string" && /^\d+$/.test(k))) ? list(`${boxed} `, "{", "}", value, state, level, () => []) : boxed;
  if (isErrorLike(value)) return describeError(value, state, level);
  if (value instanceof Map && takes(mapSize, value)) {
    const size = mapSize.call(value);
    return list(prefix(value, "Map", size), "{", "}", value, state, level, (l) => {
      const out = [];
      for (const [k, v] of Map.prototype.entries.call(value)) {
        if (out.length >= ITEMS_MAX || state.left <= 0) break;
        out.push(`${show(k, state, l)} => ${show(v, state, l)}`);
      }
      return more(out, size);
    });
  }
  if (value instanceof Set && takes(setSize, value)) {
    const size = setSize.call(value);
    return list(prefix(value, "Set", size), "{", "}", value, state, level, (l) => {
      const out = [];
      for (const v of Set.prototype.values.call(value)) {
        if (out.length >= ITEMS_MAX || state.left <= 0) break;
        out.push(show(v, state, l));
      }
      return more(out, size);
    });
  }
  if (ArrayBuffer.isView(value) && typedName.call(value) !== undefined) {
    const length = typedLength.call(value);
    return list(prefix(value, "TypedArray", length), "[", "]", value, state, level, () => {
      const out = [];
      for (let i = 0; i < Math.min(length, ITEMS_MAX); i++) out.push(showPrimitive(value[i]));
      return more(out, length);
    });
  }
  if (/Buffer$/.test(tagOf(value, null) ?? "") && isBuffer(value)) {
    return list(prefix(value, "ArrayBuffer"), "{", "}", value, state, level, () => {
      const bytes = new Uint8Array(value), hex = [...bytes.subarray(0, 50)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
      return [`[Uint8Contents]: <${hex}${bytes.length > 50 ? ` ... ${bytes.length - 50} more bytes` : ""}>`, `byteLength: ${bytes.length}`];
    });
  }
  return undefined;
}

function describeBoxed(value) {
  const date = takes(Date.prototype.getTime, value);
  if (date) return Number.isNaN(date.result) ? "Invalid Date" : Date.prototype.toISOString.call(value);
  if (value !== RegExp.prototype && takes(regexpSource, value)) return RegExp.prototype.toString.call(value);
  for (const cls of [Number, String, Boolean, BigInt, Symbol]) {
    const inner = takes(cls.prototype.valueOf, value);
    if (inner) return `[${cls.name}: ${showPrimitive(inner.result)}]`;
  }
  return undefined;
}

function isErrorLike(value) {
  return value instanceof Error || (Error.isError?.(value) ?? false);
}

function describeError(error, state, level) {
  const text = (key) => {
    const got = takes(() => error[key], error)?.result;
    return typeof got === "string" ? got.slice(0, STRING_MAX) : "";
  };
  const name = text("name") || nameOf(error) || "Error", message = text("message"), stack = ownFrames(text("stack").trimEnd());
  const head = message ? `${name}: ${message}` : name;
  const own = nameOf(error);
  const titled = own !== null && own !== name && name === "Error" && own !== "DOMException" ? head.replace(name, own) : head;
  // Some engines begin the stack with name and message, this one does not.
  const body = stack === "" ? `[${titled}]` : /^\s*at /.test(stack) ? `${titled}\n${stack}` : stack;
  const indented = body.replace(/\n/g, `\n${"  ".repeat(level)}`);
  const extra = (l) => {
    const out = [];
    for (const key of ["cause", "errors"]) {
      const d = Object.getOwnPropertyDescriptor(error, key);
      if (d && "value" in d && !d.enumerable) out.push(`[${key}]: ${show(d.value, state, l)}`);
    }
    return out;
  };
  const plain = extraKeys(error).length === 0 && !Object.hasOwn(error, "cause") && !Object.hasOwn(error, "errors");
  return plain ? indented : list(`${indented} `, "{", "}", error, state, level, extra, extraKeys(error));
}

// The frames of the program. Those of the platform (and of the engine below them) tell its author nothing, unless there are no others.
const isPlatform = (line) => line.includes("wapo:boot/"), isNative = (line) => line.endsWith("(native)");
export function ownFrames(given) {
  const stack = native.sourceMap.apply(given);
  if (!isPlatform(stack)) return stack;
  const lines = stack.split("\n").filter((line) => !isPlatform(line));
  while (lines.length > 0 && isNative(lines.at(-1))) lines.pop();
  return lines.some((line) => /^\s*at /.test(line)) ? lines.join("\n") : stack;
}

const ERROR_KEYS = ["name", "message", "stack", "cause", "errors", "fileName", "lineNumber", "columnNumber"];
function extraKeys(error) {
  return keysOf(error).filter((k) => !ERROR_KEYS.includes(k));
}

function keysOf(value) {
  return Reflect.ownKeys(value).filter((k) => Object.getOwnPropertyDescriptor(value, k)?.enumerable);
}

function items(array, state, level) {
  const out = [];
  for (let i = 0, shown = 0; i < array.length && shown < ITEMS_MAX && state.left > 0; shown++) {
    const d = Object.getOwnPropertyDescriptor(array, i);
    if (d) {
      out.push(showMember(d, state, level));
      i++;
      continue;
    }
    if (array.length > LONG) {
      out.push(`... ${array.length - i} more items, some of them empty`);
      return out;
    }
    const next = Object.keys(array).find((k) => /^\d+$/.test(k) && +k > i);
    const stop = next === undefined ? array.length : +next;
    out.push(`<${stop - i} empty item${stop - i === 1 ? "" : "s"}>`);
    i = stop;
  }
  return more(out, array.length, array.length > ITEMS_MAX);
}

function more(out, size, cut = size > out.length) {
  if (cut && size > ITEMS_MAX) out.push(`... ${size - ITEMS_MAX} more item${size - ITEMS_MAX === 1 ? "" : "s"}`);
  return out;
}

function showMember(d, state, level) {
  if ("value" in d) return show(d.value, state, level);
  return d.get ? (d.set ? "[Getter/Setter]" : "[Getter]") : "[Setter]";
}

function showKey(key) {
  if (typeof key === "symbol") return `[${String(key)}]`;
  return IDENTIFIER.test(key) ? key : quote(key);
}

function pairs(entries, state, level) {
  return entries.map(([k, v]) => `${showKey(k)}: ${show(v, state, level)}`);
}

// Own members after the special ones of the kind, laid out on one line when that fits.
function list(head, open, close, value, state, level, special, only = undefined) {
  if (level > state.depth) return `[${head.replace(/\([0-9]+\)/, "").trim() || (open === "[" ? "Array" : "Object")}]`;
  const out = special(level + 1);
  const indexed = Array.isArray(value) || (ArrayBuffer.isView(value) && open === "[") || value instanceof String;
  let count = 0;
  const long = indexed && value.length > LONG;
  for (const key of long ? [] : only ?? Reflect.ownKeys(value)) {
    if (indexed && typeof key === "string" && /^\d+$/.test(key)) continue;
    const d = Object.getOwnPropertyDescriptor(value, key);
    if (!d?.enumerable) continue;
    if (state.left <= 0 || ++count > ITEMS_MAX) {
      out.push("...");
      break;
    }
    out.push(`${showKey(key)}: ${showMember(d, state, level + 1)}`);
  }
  if (out.length === 0) return `${head}${open}${close}`;
  return layout(head, open, close, out, level);
}

function layout(head, open, close, out, level) {
  const joined = out.join(", ");
  const shallow = out.length <= 6 || open !== "[" ? joined.length + head.length + level * 2 <= LINE_MAX : joined.length <= 20;
  if (shallow && !joined.includes("\n")) return `${head}${open} ${joined} ${close}`;
  const indent = "  ".repeat(level + 1);
  const rest = out.at(-1).startsWith("...") ? [out.at(-1)] : [], short = rest.length > 0 ? out.slice(0, -1) : out;
  const lines = open === "[" && short.length > 6 && short.every((x) => x.length <= 6 && !x.includes("\n")) ? [...columns(short), ...rest] : out;
  return `${head}${open}\n${indent}${lines.join(`,\n${indent}`)}\n${"  ".repeat(level)}${close}`;
}

// Short items of a long list side by side.
function columns(out) {
  const width = Math.max(...out.map((x) => x.length)), count = Math.min(16, Math.floor(LINE_MAX / (width + 2)));
  const lines = [];
  for (let i = 0; i < out.length; i += count) {
    lines.push(out.slice(i, i + count).map((x) => (/^-?\d/.test(x) ? x.padStart(width) : x.padEnd(width))).join(", ").trimEnd());
  }
  return lines;
}
