// `Wapo.isolateEval` and `Wapo.run`: scripts in engines of their own, with limits of their own and nothing of the program.
// What they leave as output comes back as a structured clone (web/clone.js), in the form of records.
import native from "wapo:native";
import { deserialize } from "../web/clone.js";
import { bytesOf } from "../web/idl.js";
import { callable, open, over } from "./handles.js";

// One environment serves all of them.
const FLAVOURS = ["browser", "nodejs", "wapo"];
// As it was with Wapo 0.x. What the engine itself takes is not counted.
const MEMORY_MIN = 128 * 1024;
// What `Wapo.run` allows when it is not told.
const RUN = { timeLimit: 120_000, gasLimit: 100_000, memoryLimit: 128 * 1024 * 1024, polyfills: ["nodejs"] };

// What `Wapo.run` may be told. A name with a mistake would be a limit that is none.
const OPTIONS = ["args", "env", "polyfills", "network", "timeLimit", "cpuLimit", "memoryLimit", "gasLimit"];

function list(caller, value, name) {
  if (!Array.isArray(value)) throw new TypeError(`${caller}: ${name} is a list`);
  return value.map(String);
}

function limit(caller, value, name, least) {
  if (value === undefined || value === null) return null;
  const number = Number(value);
  if (!(number >= least)) throw new RangeError(`${caller}: ${name} is ${value}, and ${least} is the least`);
  return number;
}

function network(caller, value) {
  if (value === undefined || value === null) return false;
  return typeof value === "boolean" ? value : list(caller, value, "network");
}

// Calls back with one list: error or null, output, `serializedScriptOutput` or null, `scriptLogs` or null.
export function isolateEval(wish, callback) {
  callable(callback, "isolateEval");
  return start("isolateEval", wish, false, callback);
}

function start(caller, wish, keepsLogs, callback) {
  const { scripts, args, env, polyfills, gasLimit, memoryLimit, timeLimit, cpuLimit } = wish;
  if (env === null || typeof env !== "object") throw new TypeError(`${caller}: env is an object`);
  for (const flavour of list(caller, polyfills, "polyfills")) {
    if (!FLAVOURS.includes(flavour)) throw new TypeError(`${caller}: polyfills are ${FLAVOURS.join(", ")}, not ${flavour}`);
  }
  const close = native.isolates.start({
    scripts: list(caller, scripts, "scripts"),
    args: list(caller, args, "args"),
    env: Object.entries(env).flatMap(([name, value]) => [name, String(value)]),
    network: network(caller, wish.network),
    gas: limit(caller, gasLimit, "gasLimit", 0),
    memory: limit(caller, memoryLimit, "memoryLimit", MEMORY_MIN),
    time: limit(caller, timeLimit, "timeLimit", 0),
    cpu: limit(caller, cpuLimit, "cpuLimit", 0),
    keepsLogs,
  }, (error, record, serialized, logs) => {
    over(id);
    let output;
    try {
      if (record !== undefined) output = deserialize({ root: record, slots: [] }).value;
    } catch (failure) {
      error ??= `the output cannot be read: ${failure}`;
    }
    callback([error, output, serialized, logs]);
  });
  const id = open(close);
  return id;
}

// Never rejects: a failure is a result, too.
export function run(code, options = undefined) {
  const { promise, resolve } = Promise.withResolvers();
  const settle = (error, value, logs) => resolve({ error, value, logs, isError: error !== null, isOk: error === null });
  try {
    const given = Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined));
    const unknown = Object.keys(given).find((name) => !OPTIONS.includes(name));
    if (unknown !== undefined) throw new TypeError(`Wapo.run: there is no option ${unknown}; there are ${OPTIONS.join(", ")}`);
    const keepsLogs = native.worker.env().WAPO_BUFFERED_LOGS !== "disabled";
    const scripts = Array.isArray(code) ? code : [bytesOf(code) ? new TextDecoder().decode(code) : code];
    start("Wapo.run", { args: [], env: {}, ...RUN, ...given, scripts }, keepsLogs, ([error, output, , logs]) => {
      let lines = [];
      try {
        if (logs !== null) lines = JSON.parse(logs);
      } catch (failure) {
        error ??= `the log cannot be read: ${failure}`;
      }
      settle(error, error === null ? output : undefined, lines);
    });
  } catch (error) {
    settle(String(error), undefined, []);
  }
  return promise;
}
