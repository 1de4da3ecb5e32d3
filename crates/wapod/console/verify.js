// The page that verifies: takes files and demands, has them checked by the verifier, and
// shows the verdict. Nothing leaves the browser: after its own files the page asks for
// nothing. It knows no worker and no token.

import { byId, h, keyed, setShown, setText } from "./dom.js";
import { formatBytes } from "./format.js";
import { HEAD_BYTES, ROLES, encodeMessage, roleOf } from "./verify-files.js";

/** Files that are listed; more are not needed for any verification. */
const FILES_MAX = 16;
/** Timeout of a verification, after which its thread is ended. A bill of 32 MiB took two seconds. */
const TIMEOUT_MS = 120_000;

const OUTCOMES = { passed: "running", failed: "failed", noted: "waiting" };
const SUBJECTS = { worker: "This worker", app: "This app", usage: "This bill", answer: "This answer", quote: "This quote" };

/** @type {{id: number, file: File, role: string}[]} */
let files = [];
let lastId = 0;
/** @type {WebAssembly.Module | null} */
let verifier = null;
let isVerifying = false;
/** Counts changes of files and fields. */
let edition = 0;

const isoTime = (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

/** What is wrong with a file before it is read. */
function troubleOf({ file, role }) {
  if (role === "") return "Say what it is.";
  const { title, bytesMax } = ROLES[role];
  return file.size > bytesMax ? `${formatBytes(file.size)}: too long for “${title}”, of which ${formatBytes(bytesMax)} are read.` : "";
}

async function add(chosen) {
  showError("");
  const room = FILES_MAX - files.length;
  if (chosen.length > room) showError(`At most ${FILES_MAX} files; the rest was left out.`);
  for (const file of [...chosen].slice(0, Math.max(0, room))) {
    const one = { id: (lastId += 1), file, role: "" };
    try {
      const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
      one.role = roleOf(file.name, file.size, head);
    } catch (error) {
      showError(`${file.name} cannot be read: ${error.message}`);
      continue;
    }
    files.push(one);
  }
  update();
}

function createRow({ id }) {
  const find = () => files.find((one) => one.id === id);
  const role = h("select", {
    onchange: () => {
      find().role = role.value;
      update();
    },
  }, h("option", { value: "" }, "What is it?"), Object.entries(ROLES).map(([value, { title }]) => h("option", { value }, title)));
  const remove = h("button", {
    type: "button",
    class: "small",
    onclick: () => {
      files = files.filter((one) => one.id !== id);
      update();
      byId("verify-files").focus();
    },
  }, "Remove");
  return h("li", {}, h("p", { class: "row" }, h("bdi", { class: "file-name" }), h("span", { class: "hint" }), h("span", { class: "bar-end" }, role, remove)),
    h("p", { class: "error-text" }));
}

function updateRow(row, one) {
  const [name, size, end] = row.firstElementChild.children;
  const [role, remove] = end.children;
  setText(name, one.file.name);
  setText(size, formatBytes(one.file.size));
  role.value = one.role;
  role.setAttribute("aria-label", `What ${one.file.name} is`);
  remove.setAttribute("aria-label", `Remove ${one.file.name}`);
  setText(row.lastElementChild, troubleOf(one));
}

/** A verdict that is to be seen is one of what is to be seen. */
function forget() {
  edition += 1;
  setShown(byId("verify-result"), false);
}

/** Fields that have no effect on what is there are not shown, and not sent. */
function update() {
  forget();
  const roles = new Set(files.map((one) => one.role));
  setShown(byId("verify-list"), files.length > 0);
  keyed(byId("verify-list"), files, (one) => one.id, createRow, updateRow);
  const hasBill = roles.has("usage");
  const hasEvidence = ["worker", "app", "certificate"].some((role) => roles.has(role));
  setShown(byId("verify-bill"), hasBill);
  setShown(byId("verify-worker-field"), hasBill && !hasEvidence);
  setShown(byId("verify-app-field"), hasBill || roles.has("app") || roles.has("answer") || roles.has("certificate"));
  setShown(byId("verify-nonce-field"), hasEvidence || roles.has("answer"));
}

function showError(text) {
  setText(byId("verify-error"), text);
}

const textOf = (id) => (byId(id).closest("[hidden]") ? "" : byId(id).value.trim());

/** The time of the verification, in unix seconds. */
function timeOf() {
  const text = textOf("verify-at");
  if (text === "") return Math.floor(Date.now() / 1000);
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?Z$/.test(text) ? Date.parse(text) : NaN;
  if (!(ms >= 0)) throw new Error(`Time: “${text}” is not like 2026-06-01T12:00:00Z.`);
  return ms / 1000;
}

async function messageOf(now) {
  const troubled = files.find((one) => troubleOf(one) !== "");
  if (troubled) throw new Error(`${troubled.file.name}: ${troubleOf(troubled)}`);
  // Before they are read: they are in memory twice then.
  const twice = files.find((one, at) => files.findIndex(({ role }) => role === one.role) !== at);
  if (twice) throw new Error(`There are two files with “${ROLES[twice.role].title}”: take one out.`);
  const read = await Promise.all(files.map(async ({ file, role }) => {
    try {
      return { role, name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) };
    } catch (error) {
      throw new Error(`${file.name} cannot be read any more (${error.message}): choose it again.`);
    }
  }));
  return encodeMessage({
    now,
    accept_simulator: byId("verify-simulator").checked,
    nonce: textOf("verify-nonce"),
    app: textOf("verify-app"),
    worker: textOf("verify-worker"),
    after: textOf("verify-after"),
    last_seq: textOf("verify-last"),
    until: textOf("verify-until"),
  }, read);
}

/** Has a message checked in a thread of its own, which ends with it. */
function check(message) {
  const thread = new Worker(new URL("./verify-worker.js", import.meta.url), { type: "module" });
  let timer = null;
  const answered = new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`The verifier broke off, and nothing was verified: ${why}`));
    timer = setTimeout(() => fail(`it took longer than ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
    thread.addEventListener("error", (event) => fail(event.message || "its thread cannot be started"));
    thread.addEventListener("message", ({ data }) => (data.broken === undefined ? resolve(data.answer) : fail(data.broken)));
    thread.postMessage({ module: verifier, message }, [message.buffer]);
  });
  return answered.finally(() => {
    clearTimeout(timer);
    thread.terminate();
  });
}

function checkItem({ name, outcome, detail, proves }) {
  // What is not shown must not read as if it were.
  const would = outcome === "passed" ? "What it proves: " : "What it would prove: ";
  return h("li", { "data-outcome": outcome },
    h("p", { class: "row" }, h("span", { class: "state", "data-state": OUTCOMES[outcome] }, outcome), h("code", {}, name)),
    h("p", { class: "breaks" }, detail), h("p", { class: "hint" }, would, proves));
}

function showVerdict({ kind, good, checks, facts }, now, isOwnClock) {
  const count = (outcome) => checks.filter((one) => one.outcome === outcome).length;
  const failed = checks.filter((one) => one.outcome === "failed").map((one) => one.name);
  const verdict = byId("verify-verdict");
  verdict.dataset.good = String(good);
  setText(byId("verify-verdict-title"), good ? "Good" : "Refused");
  const noted = count("noted") === 0 ? "" : ` Facts that you did not demand are marked “noted” (${count("noted")}): read them before you trust this.`;
  setText(byId("verify-verdict-text"), good
    ? `${SUBJECTS[kind]} meets all demands: ${count("passed")} checks passed.${noted}`
    : `${SUBJECTS[kind]} does not meet the demands: ${failed.join(", ") || "nothing was shown"}.`);
  setText(byId("verify-verdict-time"), `At ${isoTime(now * 1000)}, ${isOwnClock ? "by this browser’s clock" : "the time that you gave"}.`);
  byId("verify-checks").replaceChildren(...checks.map(checkItem));
  setText(byId("verify-facts"), JSON.stringify(facts, null, 2));
  setShown(byId("verify-facts-part"), facts !== null);
  setShown(byId("verify-result"), true);
  verdict.focus();
}

async function submit(event) {
  event.preventDefault();
  if (isVerifying || verifier === null) return;
  showError("");
  forget();
  const mine = edition;
  isVerifying = true;
  byId("verify-submit").setAttribute("aria-busy", "true");
  setText(byId("verify-step"), "Checking");
  try {
    const now = timeOf();
    const isOwnClock = textOf("verify-at") === "";
    const answer = await check(await messageOf(now));
    if (answer.error !== undefined) throw new Error(answer.error);
    if (mine !== edition) throw new Error("Something was changed meanwhile: verify again.");
    showVerdict(answer, now, isOwnClock);
  } catch (error) {
    showError(error.message);
  } finally {
    isVerifying = false;
    byId("verify-submit").removeAttribute("aria-busy");
    setText(byId("verify-step"), "");
  }
}

/** Fetches the verifier; without one the page says how to get it. */
async function load() {
  try {
    const response = await fetch(new URL("./verify.wasm", import.meta.url));
    // Who has shown no token is not told what there is not.
    if (response.status === 404 || response.status === 401) {
      setShown(byId("verify-none"), true);
      return;
    }
    if (!response.ok) throw new Error(`status ${response.status}`);
    verifier = await WebAssembly.compile(await response.arrayBuffer());
    byId("verify-submit").disabled = false;
  } catch (error) {
    showError(`The verifier cannot be loaded: ${error.message}`);
  }
}

function start() {
  const drop = byId("verify-drop");
  const input = byId("verify-files");
  for (const [name, isOver] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, () => drop.classList.toggle("over", isOver));
    // A file that misses its place would replace the page.
    if (name !== "dragleave") window.addEventListener(name, (event) => event.preventDefault());
  }
  window.addEventListener("drop", (event) => add(event.dataTransfer.files));
  input.addEventListener("change", () => {
    const chosen = [...input.files];
    // The same file, written again, is a change too.
    input.value = "";
    add(chosen);
  });
  byId("verify-form").addEventListener("submit", submit);
  byId("verify-form").addEventListener("input", forget);
  const clock = byId("verify-clock");
  const tick = () => setText(clock, isoTime(Date.now()));
  tick();
  setInterval(tick, 1000);
  update();
  load();
}

start();
