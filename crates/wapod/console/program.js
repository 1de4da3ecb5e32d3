// What a program in JavaScript is to the worker: arguments of the engine and the blobs
// that they name. Pure functions, as the `wapo` command has them; no page, no calls.

import { isHash } from "./form.js";
import { MANIFEST_VERSION } from "./manifest.js";

/** The form of the list of files that the engine reads. */
const LIST_VERSION = 1;
/** Bytes of path and payload of a query to a program, as `wapo deploy` has it. */
const QUERY_BYTES_MAX = 1024 * 1024;
/** The file of a program that was begun here. */
export const FIRST_FILE = "app.js";
/** What the engine calls a script of the old kind, and a module without a list. */
const SCRIPT_NAME = "<script>";
const MODULE_NAME = "main.js";

const OPTIONS = { "--code-hash": "script", "--module": "module", "--program": "list" };

/**
 * Statements that only a module has, at the beginning of a line or behind another statement. What repeats has a bound, here and below: the texts are other
 * people's, and a search must take no longer than they are long.
 */
const MODULE_LINE = /(?:^|[;}])[ \t]{0,99}(?:export\s{0,99}(?:[{*]|(?:default|const|let|var|function|async|class)\b)|import\s{0,99}(?:["'{*]|[\w$]{1,99}(?:\s{0,99},|\s{1,99}from\b)))/m;

/** Whether a text is a module; else it is a script of the old kind. */
export const isModule = (text) => MODULE_LINE.test(text);

/**
 * Reads the arguments of an app.
 * @returns {{kind: "script" | "module" | "list", hash: string, rest: string[]} | null} null for
 *   what is no program of the engine, or not one that a single text makes
 */
export function readArguments([option, hash, separator, ...rest]) {
  const kind = Object.hasOwn(OPTIONS, option ?? "") ? OPTIONS[option] : null;
  const isOne = kind && isHash(hash ?? "") && (separator === undefined || separator === "--");
  return isOne ? { kind, hash, rest } : null;
}

/** Whether an app runs a program that can be opened for editing. */
export const isProgram = (app) => readArguments(app.manifest?.args ?? []) !== null;

/**
 * The files of a program by what its first blob says.
 * @param {"script" | "module" | "list"} kind
 * @param {{hash: string, text: string}} blob
 * @returns {{entry: string, imports: object, files: Map<string, {hash: string, text: string | null}>}}
 * @throws {Error} the list is none that this console knows
 */
export function readProgram(kind, { hash, text }) {
  if (kind !== "list") {
    const name = kind === "module" ? MODULE_NAME : FIRST_FILE;
    return { entry: name, imports: {}, files: new Map([[name, { hash, text }]]) };
  }
  const list = JSON.parse(text);
  const files = Object.entries(list.files ?? {});
  if (list.version !== LIST_VERSION || !files.some(([name]) => name === list.entry) || !files.every(([, one]) => isHash(one))) {
    throw new Error("its list of files is of a form that this console does not know");
  }
  return {
    entry: list.entry,
    imports: list.imports ?? {},
    files: new Map(files.map(([name, one]) => [name, { hash: one, text: null }])),
  };
}

/**
 * The first blob of a program and the option that names it.
 * @param {{entry: string, imports: object, files: Map<string, {hash: string, text: string | null}>}} program
 *   with the hash of each file
 * @returns {{option: string, hash: string} | {option: string, text: string}} what is there already, or is to be stored
 */
export function firstBlob({ entry, imports, files }) {
  const { hash, text } = files.get(entry);
  if (files.size === 1 && text !== null && !isModule(text)) return { option: "--code-hash", hash };
  const hashes = Object.fromEntries([...files].map(([name, one]) => [name, one.hash]));
  return { option: "--program", text: JSON.stringify({ entry, files: hashes, imports, version: LIST_VERSION }) };
}

/**
 * What to deploy: a manifest like that of the app before, or a new one.
 * @param {{engine: string, option: string, hashes: string[], others: object[], label: string}} program
 *   the hash that the option names comes first; others are blobs that it needs besides
 * @param {object | null} before the manifest of the app that was opened
 */
export function manifestFor({ engine, option, hashes, others, label }, before) {
  const old = before ? readArguments(before.args) : null;
  const rest = old && old.rest.length > 0 ? ["--", ...old.rest] : [];
  const manifest = before ?? { env_vars: [], on_demand: false, resizable: false, max_query_size: QUERY_BYTES_MAX };
  return {
    version: MANIFEST_VERSION,
    code_hash: engine,
    args: [option, hashes[0], ...rest],
    env_vars: manifest.env_vars ?? [],
    on_demand: manifest.on_demand ?? false,
    resizable: manifest.resizable ?? false,
    max_query_size: manifest.max_query_size ?? 0,
    label,
    required_blobs: [...hashes.map((key) => ({ key, value: "" })), ...others],
  };
}

/** What is thrown is told with its name first, in the engine and in most programs. */
const MESSAGE = /\b\w{0,99}(?:Error|Exception)\b(?::[^\n]{0,500})?/;
/** A place in a stack. */
const PLACE = /([^\s()]{1,256}):(\d{1,7}):(\d{1,7})/g;

/**
 * Finds where an error is in a program.
 * @param {string} text a line of the log, or what the worker says of a deployment
 * @param {string[]} names of the program's files
 * @returns {{file: string, line: number, column: number, message: string} | null}
 */
export function placeOf(text, names) {
  for (const [, where, line, column] of text.matchAll(PLACE)) {
    const name = where.replace(/^file:\/\/\//, "").replace(/^\//, "");
    const file = name === SCRIPT_NAME ? names[0] : name;
    if (!names.includes(file)) continue;
    const message = MESSAGE.exec(text)?.[0] ?? text.split("\n")[0];
    return { file, line: Number(line), column: Number(column), message };
  }
  return null;
}
