// node:process: what programs ask of the process that they are. There is no operating system below: no pid of others, no signals.
import native from "wapo:native";
import { Wapo } from "../wapo/object.js";
import { atEnd } from "../wapo/program.js";
import { codedError, needFunction, wrongType } from "../node-parts/errors.js";

const LEVEL_INFO = 2, LEVEL_WARN = 3, LEVEL_ERROR = 4;
// Characters of a line that has no end yet; a longer one is written in pieces.
const LINE_MAX = 8 * 1024;

// A stream that writes lines to the log. What has no end of line waits for it, or for the end of the program.
function output(level, fd) {
  let line = "";
  const flush = () => {
    if (line !== "") native.log.print(level, line);
    line = "";
  };
  const stream = {
    fd, isTTY: false, writable: true, columns: 80,
    write(chunk, encoding = undefined, callback = undefined) {
      if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) throw wrongType("chunk", "of type string or an instance of Buffer or Uint8Array", chunk);
      const lines = (line + (typeof chunk === "string" ? chunk : native.text.decode(chunk, false, true))).split("\n");
      line = lines.pop();
      if (lines.length > 0) native.log.print(level, lines.join("\n"));
      if (line.length > LINE_MAX) flush();
      const done = typeof encoding === "function" ? encoding : callback;
      if (typeof done === "function") nextTick(done);
      return true;
    },
    end(chunk = undefined, ...rest) {
      if (chunk !== undefined && chunk !== null) stream.write(chunk, ...rest);
      flush();
      return stream;
    },
    on: () => stream, once: () => stream, off: () => stream, removeListener: () => stream, emit: () => false,
  };
  return [stream, flush];
}
const [out, flushOut] = output(LEVEL_INFO, 1), [err, flushErr] = output(LEVEL_ERROR, 2);
export const stdout = out, stderr = err;
atEnd.push(() => {
  flushOut();
  flushErr();
  if (!isExiting && process.exitCode !== undefined) exit();
});

// After what runs now and before timers; among promises in the order of calls, where Node has it before them.
export function nextTick(callback, ...args) {
  needFunction(callback, "callback");
  queueMicrotask(() => callback(...args));
}

export function hrtime(before = undefined) {
  const now = native.time.now();
  let seconds = Math.trunc(now / 1e3), nanoseconds = Math.round((now % 1e3) * 1e6);
  if (before !== undefined) {
    seconds -= before[0];
    nanoseconds -= before[1];
    if (nanoseconds < 0) {
      seconds -= 1;
      nanoseconds += 1e9;
    }
  }
  return [seconds, nanoseconds];
}
hrtime.bigint = () => BigInt(Math.round(native.time.now() * 1e6));

export const { env } = Wapo;
export const argv = ["wapo", "/app.js", ...(globalThis.scriptArgs ?? [])];
export const argv0 = "wapo", execPath = "/wapo", title = "wapo", pid = 1, ppid = 0, platform = "linux", arch = "wasm32";
export const execArgv = [], config = {}, features = {}, release = { name: "wapo" };
// Not that of Node: programs that look for it must not take this for Node.
export const version = "v22.0.0", versions = { wapo: Wapo.version };
export const cwd = () => "/";
export const uptime = () => native.time.now() / 1e3;
export const umask = () => 0o22;

export function chdir() {
  throw codedError(new Error("process.chdir: there are no folders here"), "ERR_METHOD_NOT_IMPLEMENTED");
}

// The program ends after what runs now.
let isExiting = false;
export function exit(code = process.exitCode) {
  isExiting = true;
  Wapo.exit(code ?? 0);
}

export function memoryUsage() {
  const used = Wapo.memoryStats().current;
  return { rss: used, heapTotal: used, heapUsed: used, external: 0, arrayBuffers: 0 };
}

export function emitWarning(warning, options = undefined) {
  const type = typeof options === "string" ? options : options?.type;
  native.log.print(LEVEL_WARN, warning instanceof Error ? String(warning) : `${type ?? "Warning"}: ${warning}`);
}

// Events: those of exceptions and rejections that nobody caught. A listener keeps them from the log.
const GLOBAL = { uncaughtException: ["error", (event) => [event.error, "uncaughtException"]], unhandledRejection: ["unhandledrejection", (event) => [event.reason, event.promise]] };
let emitter = null;
const bridged = new Set();

function events() {
  if (emitter === null) {
    emitter = new (native.modules.load("events").default)();
    emitter.on("newListener", (type) => {
      if (!Object.hasOwn(GLOBAL, type) || bridged.has(type)) return;
      bridged.add(type);
      const [name, argumentsOf] = GLOBAL[type];
      addEventListener(name, (event) => { if (emitter.emit(type, ...argumentsOf(event))) event.preventDefault(); });
    });
  }
  return emitter;
}

const process = {
  arch, argv, argv0, chdir, config, cwd, emitWarning, env, execArgv, execPath, exit, exitCode: undefined, features, hrtime, memoryUsage, nextTick, pid, platform, ppid,
  release, stderr, stdout, title, umask, uptime, version, versions, browser: false,
};
for (const name of ["on", "once", "off", "emit", "addListener", "prependListener", "prependOnceListener", "removeListener", "removeAllListeners", "listeners", "rawListeners", "listenerCount", "eventNames", "setMaxListeners", "getMaxListeners"]) {
  process[name] = (...args) => {
    const result = events()[name](...args);
    return result === emitter ? process : result;
  };
}
Object.defineProperty(process, Symbol.toStringTag, { value: "process", configurable: true });
export const { on, once, off, emit, addListener, removeListener, removeAllListeners, listeners, listenerCount } = process;
export default process;
