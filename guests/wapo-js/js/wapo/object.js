// The `Wapo` object: what programs written for WapoJS of Wapo 0.x call, under the names and with the callbacks they know.
import native from "wapo:native";
import { inspect } from "../web/inspect.js";
import { logFailure } from "../web/report.js";
import { clearTimeout, setInterval, setTimeout } from "../web/timers.js";
import { Opaque, bytes, callable, close, open, over } from "./handles.js";
import { isolateEval, run } from "./isolates.js";
import { callModuleEntry } from "./program.js";
import { httpListen, httpRequest, sendHead, sendRawHead } from "./http.js";
import { httpsListen } from "./https.js";
import { pure } from "./pure.js";
import { SCALE } from "./scale.js";
import { streamBridge, streamClose, streamOpenRead, streamOpenWrite, streamWriteChunk } from "./streams.js";
import { wsClose, wsOpen, wsSend } from "./sockets.js";

const QUERY = "query's reply";
const LOCK = "lock";

// Runs on engine timers; the ids are those of `close`.
function timer(set, isOnce) {
  return (callback, milliseconds = 0) => {
    callable(callback, "timer");
    const id = open(() => clearTimeout(handle));
    const handle = set(() => {
      if (isOnce) over(id);
      callback();
    }, milliseconds);
    return id;
  };
}

function print(level, values, { depth = 5 } = {}) {
  if (!Array.isArray(values)) throw new TypeError("Wapo.print: expected a level and a list of values; console.log takes values as they are");
  const text = values.map((value) => (typeof value === "string" ? value : inspect(value, { depth }))).join(" ");
  native.log.print(level, text);
}

function queryListen(callback) {
  callable(callback, "queryListen");
  native.worker.listenQueries((query) => {
    try {
      callback({ origin: query.origin, path: query.path, payload: query.payload, replyTx: new Opaque(QUERY, query) });
    } catch (error) {
      query.fail("internal error");
      logFailure("a query failed: ", error);
    }
  });
}

function queryReply(tx, data) {
  Opaque.take(tx, QUERY).reply(bytes(data, "queryReply"));
}

// Throws when the lock is held, as it did.
function tryLock(path) {
  const guard = native.worker.tryLock(String(path));
  if (!guard) throw new Error(`the lock ${path} is held`);
  return new Opaque(LOCK, guard);
}

function unlock(guard) {
  Opaque.take(guard, LOCK).release();
}

// Bytes of the whole instance; the spike is the most since the last call.
function memoryStats() {
  const [current, spike, peak] = native.worker.memory();
  return { current, spike, peak };
}

function workerSecret() {
  return native.worker.deriveSecret("wapojs/worker-secret").toHex();
}

export const Wapo = {
  print,
  repr: (value, options) => inspect(value, options),
  inspect: (value) => inspect(value),
  setTimeout: timer(setTimeout, true),
  setInterval: timer(setInterval, false),
  close,
  exit: (code) => native.worker.exit(code === undefined ? 0 : Number(code) | 0),
  deriveSecret: (path) => native.worker.deriveSecret(bytes(path, "deriveSecret")),
  workerSign: (message) => native.worker.sign(bytes(message, "workerSign")),
  workerPublicKey: () => native.worker.publicKey(),
  sgxQuote: (message) => native.worker.quote(bytes(message, "sgxQuote")),
  evidence: async (nonce = "") => native.worker.evidence(bytes(nonce, "evidence")),
  bootData: () => native.worker.bootData(),
  storeBootData: (data) => native.worker.storeBootData(bytes(data, "storeBootData")),
  tryLock, unlock,
  memoryStats,
  ...pure,
  SCALE,
  httpListen, httpRequest, httpsListen,
  httpSendResponseHead: sendHead, httpsSendResponseHead: sendHead, httpsSendResponseHeadRaw: sendRawHead,
  queryListen, queryReply,
  isolateEval, run, callModuleEntry,
  useBufferedLogs: (isOn) => native.log.keep(!!isOn),
  streamOpenRead, streamOpenWrite, streamWriteChunk, streamClose, streamBridge,
  wsOpen, wsSend, wsClose,
  // What Wapo 0.x kept from JavaScript.
  appAddress: () => native.worker.appAddress(),
  emitOutput: (data) => native.worker.output(bytes(data, "emitOutput")),
  tip: (amount) => native.worker.tip(Number(amount)),
  gasConsumed: () => native.worker.gas(),
  blobGet: (hash) => native.worker.blob(String(hash)),
};

// What scripts in isolates have of it: nothing that acts for the program.
const OF_ISOLATES = new Set([
  "print", "repr", "inspect", "setTimeout", "setInterval", "close", "exit", "deriveSecret", "memoryStats", ...Object.keys(pure), "SCALE",
  "httpRequest", "streamOpenRead", "streamOpenWrite", "streamWriteChunk", "streamClose", "streamBridge", "wsOpen", "wsSend", "wsClose",
  "callModuleEntry", "useBufferedLogs",
]);
if (native.isolate) {
  for (const name of Object.keys(Wapo)) if (!OF_ISOLATES.has(name)) delete Wapo[name];
}

let env;

Object.defineProperties(Wapo, {
  version: { get: () => native.version, enumerable: true },
  workerSecret: { get: workerSecret, enumerable: true },
  env: { get: () => (env ??= native.worker.env()), enumerable: true },
  [Symbol.toStringTag]: { value: "Wapo" },
});
