// Calls to the worker: RPC as JSON, uploads, the log's stream. Knows the token
// and asks for it; knows nothing of the page.

const TOKEN_KEY = "wapo.token";
/** A call that takes longer is given up. Deploys wait for a compilation. */
const CALL_TIMEOUT_MS = 120_000;
/** The calls that are made every second give up sooner. */
export const POLL_TIMEOUT_MS = 10_000;

/** What the worker, or the way to it, said. */
export class WorkerError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "WorkerError";
    /** HTTP status; 0 when there was no answer. */
    this.status = status;
    /** The user does not want to go on, and need not be told. */
    this.isCancelled = false;
  }
}

let askForToken = async () => null;
let asking = null;
const tokenListeners = new Set();

/** Whom to ask for a token; see auth.js. It resolves to null when the user refuses. */
export function setTokenPrompt(prompt) {
  askForToken = prompt;
}

/** Calls back whenever a token is set or forgotten. */
export function onTokenChange(listener) {
  tokenListeners.add(listener);
}

/** The token, which lives as long as the tab. */
export function token() {
  return sessionStorage.getItem(TOKEN_KEY);
}

export function setToken(value) {
  if (value === null) sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, value);
  for (const listener of tokenListeners) listener();
}

function headers(extra = {}) {
  const own = token();
  return own ? { ...extra, Authorization: `Bearer ${own}` } : extra;
}

/** Makes sure that the user is asked once, however many calls were refused. */
async function newToken(refused) {
  // Another call may have got a new one meanwhile.
  if (token() !== refused) return;
  asking ??= askForToken(refused !== null).finally(() => { asking = null; });
  const given = await asking;
  if (given === null) {
    const error = new WorkerError("The worker asks for its admin token.", 401);
    error.isCancelled = true;
    throw error;
  }
  if (token() === refused) setToken(given);
}

/** Sends, and sends again with a token when the worker wants one. */
async function withToken(send) {
  for (;;) {
    const used = token();
    const response = await send();
    if (response.status !== 401) return response;
    await newToken(used);
  }
}

async function send(path, options, timeoutMs, signal) {
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = signal ? AbortSignal.any([timeout, signal]) : timeout;
  try {
    return await fetch(path, {
      ...options,
      headers: headers(options.headers),
      cache: "no-store",
      credentials: "omit",
      signal: either,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (timeout.aborted) {
      throw new WorkerError(`The worker did not answer within ${timeoutMs / 1000} s.`);
    }
    throw new WorkerError("The worker cannot be reached. Is wapod still running?");
  }
}

/** The worker's own words about a failure. */
function failure(status, text) {
  try {
    const said = JSON.parse(text);
    if (typeof said.error === "string" && said.error !== "") return new WorkerError(said.error, status);
  } catch {
    // Not JSON: an answer of a proxy, or plain text.
  }
  const plain = text.trim();
  const isReadable = plain !== "" && plain.length < 500 && !plain.startsWith("<");
  return new WorkerError(isReadable ? plain : `The worker answered with status ${status}.`, status);
}

/**
 * Calls a method of the service `Operation`.
 * @param {string} method
 * @param {object} args as in the schema; bytes are `0x` texts
 * @throws {WorkerError}
 */
export async function call(method, args = {}, { timeoutMs = CALL_TIMEOUT_MS, signal } = {}) {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(args),
  };
  const response = await withToken(() => send(`/prpc/Operation.${method}?json`, options, timeoutMs, signal));
  const text = await response.text();
  if (!response.ok) throw failure(response.status, text);
  return text === "" ? null : JSON.parse(text);
}

/** One of the console's own files. */
export async function ownFile(name) {
  const response = await send(`/console/${name}`, { method: "GET" }, POLL_TIMEOUT_MS);
  if (!response.ok) throw failure(response.status, await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

/** One upload, by the older interface: `fetch` does not tell how far it is. */
function post(path, body, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers({ "Content-Type": "application/octet-stream" }))) {
      request.setRequestHeader(name, value);
    }
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded, body.length));
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => {
      reject(new WorkerError("The upload broke off. Is wapod still running?"));
    });
    request.send(body);
  });
}

/**
 * Stores a blob unless the worker has it.
 * @param {string} hash with its algorithm, `sha256:…`
 * @param {Uint8Array} body
 * @param {(sent: number, total: number) => void} onProgress
 * @returns {Promise<boolean>} whether it was sent
 */
export async function putBlob(hash, body, onProgress = () => {}) {
  if ((await call("BlobExists", { hash })).value) return false;
  // With the hash in the path, the worker refuses what was damaged on the way.
  const answer = await withToken(() => post(`/blob/${hash}`, body, onProgress));
  if (answer.status !== 200) throw failure(answer.status, answer.responseText);
  return true;
}

/**
 * A blob that is a text.
 * @param {string} hash with its algorithm
 * @param {number} bytesMax
 * @throws {WorkerError} it is larger, is no text, or is not there
 */
export async function getText(hash, bytesMax) {
  const response = await withToken(() => send(`/blob/${hash}`, { method: "GET" }, CALL_TIMEOUT_MS));
  if (!response.ok) throw failure(response.status, await response.text());
  if (Number(response.headers.get("content-length")) > bytesMax) {
    await response.body.cancel();
    throw new WorkerError(`${hash} is larger than ${bytesMax / 1024} KiB.`);
  }
  const bytes = await response.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new WorkerError(`${hash} is no text.`);
  }
}

/**
 * Follows an app's log until the signal says stop or the stream ends.
 * @param {string} address `0x` and 64 digits
 * @param {{ tail: number, signal: AbortSignal }} options
 * @param {(event: string, data: object) => void} onEvent `message` with a line, or `missed`
 */
export async function followLog(address, { tail, signal, onOpen = () => {} }, onEvent) {
  const path = `/logs/${address.replace(/^0x/, "")}?follow&tail=${tail}`;
  const response = await withToken(() => fetch(path, {
    headers: headers({ Accept: "text/event-stream" }),
    cache: "no-store",
    credentials: "omit",
    signal,
  }));
  if (!response.ok) throw failure(response.status, await response.text());
  onOpen();
  const events = new EventParser(onEvent);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    events.push(value);
  }
}

/** Cuts a text stream into server-sent events with JSON in them. */
export class EventParser {
  #rest = "";
  #event = "message";
  #data = [];
  #onEvent;

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  push(text) {
    // A lone CR at the very end may be the first half of a line's end.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.#onEvent(this.#event, JSON.parse(this.#data.join("\n")));
      this.#event = "message";
      this.#data = [];
      return;
    }
    const match = /^([^:]*):? ?(.*)$/s.exec(line);
    if (match[1] === "data") this.#data.push(match[2]);
    else if (match[1] === "event") this.#event = match[2];
  }
}
