// The page on which programs in JavaScript are written and deployed. An app that is
// deployed already can be opened: its text is read back from its blobs.

import { confirm } from "./dialogs.js";
import { deploy } from "./deploying.js";
import { byId, h, keyed, setShown, setText } from "./dom.js";
import { openEditor } from "./editing.js";
import { addressOf } from "./manifest.js";
import { FIRST_FILE, firstBlob, isProgram, manifestFor, placeOf, readArguments, readProgram } from "./program.js";
import { call, getText, putBlob } from "./rpc.js";
import { ask, followProgram, showProgram, startAnswer, updateAnswer } from "./script-answer.js";
import { blobHash } from "./sha256.js";
import { appByAddress, nameOf, refresh, refreshAfterChange, store } from "./store.js";
import { toast } from "./toast.js";

/** Bytes of a file that can be edited here. */
const TEXT_BYTES_MAX = 1024 * 1024;
/** A label that is a host name as well. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Time between the lines of one exception. */
const STACK_MS = 100;
const NAME_FIRST = "hello";
/** States out of which an app comes when it is started only. */
const STOPPED = ["stopped", "failed", "finished"];
/** A program that answers. */
const TEMPLATE = `// Answers web requests. Change it and press Deploy, or Ctrl+Enter.
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    console.log(\`a request for \${pathname}\`);
    if (pathname === "/json") {
      return Response.json({ method: request.method, pathname });
    }
    return new Response(\`Hello! You asked for \${pathname}\\n\`);
  },
};
`;

let editing = null;
let isOpen = false;
/** What is written: files by name, and where it begins. */
let program = null;
/** The file in the editor. */
let shown = null;
/** The app that it runs as: address, manifest, and blobs that are not its text. */
let opened = null;
let isChanged = false;
let isSending = false;
/** Where the last error is. */
let place = null;

/** The engine for what is deployed here: the worker's, else one that an app has brought. */
function engine() {
  const ofWorker = store.info?.javascript_engine;
  return ofWorker || opened?.manifest.code_hash || store.apps?.find(isProgram)?.manifest.code_hash || null;
}

/** Says what is wrong, and where. */
function showWrong(message, where = null) {
  place = where;
  const isHere = where !== null && where.file === shown;
  const at = where === null ? "" : `${where.file}, line ${where.line}: `;
  setText(byId("script-wrong"), at + message);
  const go = byId("script-go");
  setShown(go, where !== null);
  if (where !== null) setText(go, `Go to line ${where.line}`);
  editing.mark(isHere ? where.line : null);
}

/** Finds the place in a text that the worker or the program gives. */
function showFailure(text, isAlways) {
  const where = placeOf(text, [...program.files.keys()]);
  if (where) showWrong(where.message, where);
  else if (isAlways) showWrong(text);
}

function keepText() {
  if (shown === null) return;
  const file = program.files.get(shown);
  const text = editing.text();
  if (file.text !== text) program.files.set(shown, { hash: null, text });
}

async function showFile(name) {
  const file = program.files.get(name);
  file.text ??= await getText(file.hash, TEXT_BYTES_MAX);
  shown = name;
  editing.setText(file.text);
  editing.mark(place?.file === name ? place.line : null);
  byId("script-file").value = name;
}

/** Takes another program into the editor. */
async function take(next, app) {
  [program, shown, opened] = [next, null, app];
  const names = [...program.files.keys()];
  setShown(byId("script-files"), names.length > 1);
  keyed(byId("script-file"), names, (name) => name, (name) => h("option", { value: name }, name), () => {});
  showWrong("");
  await showFile(program.entry);
  byId("script-name").value = app?.manifest.label ?? NAME_FIRST;
  setText(byId("script-step"), "");
  isChanged = false;
  showProgram(app?.address ?? null);
  updateScript();
}

function takeTemplate() {
  return take({ entry: FIRST_FILE, imports: {}, files: new Map([[FIRST_FILE, { hash: null, text: TEMPLATE }]]) }, null);
}

/** Reads the program of an app back. */
async function load(address) {
  if (!store.apps) await refresh();
  const app = appByAddress(address);
  if (!app) throw new Error("The worker has no app with this address.");
  const read = readArguments(app.manifest.args ?? []);
  if (!read) throw new Error(`${nameOf(app)} is no program in JavaScript.`);
  const text = await getText(read.hash, TEXT_BYTES_MAX);
  const next = readProgram(read.kind, { hash: read.hash, text });
  const known = new Set([read.hash, ...[...next.files.values()].map(({ hash }) => hash)]);
  const others = (app.manifest.required_blobs ?? []).filter(({ key }) => !known.has(key));
  await take(next, { address, manifest: app.manifest, others });
}

async function mayLeave() {
  return !isChanged || confirm({
    title: "Leave what you wrote?",
    text: "It was not deployed since the last change, and is gone when another program takes its place.",
    action: "Leave it",
    isDanger: true,
  });
}

/** Shows the page; with an address, the program of that app. */
export async function openScript(address) {
  isOpen = true;
  editing ??= openEditor(byId("script-editor"), {
    label: "Program in JavaScript",
    onChange: () => { isChanged = true; },
    onSubmit: () => byId("script-form").requestSubmit(),
  });
  editing = await editing;
  followProgram(isOpen);
  try {
    if (address && address !== opened?.address) {
      if (await mayLeave()) await load(address);
      else history.replaceState(null, "", opened ? `#/script/${opened.address}` : "#/script");
    }
  } catch (error) {
    if (!error.isCancelled) toast(`Could not open the program: ${error.message}`, "error");
  }
  if (!program) await takeTemplate();
}

/** Called when another page is shown. */
export function closeScript() {
  isOpen = false;
  if (editing) followProgram(false);
}

/** The app whose place the program takes; undefined when the user does not want that. */
async function predecessor(label) {
  const own = opened && appByAddress(opened.address);
  if (own && own.manifest.label === label) return own;
  const same = (store.apps ?? []).filter((app) => app.manifest.label === label);
  const other = same.find(({ name }) => name) ?? same[0];
  if (!other) return null;
  const isSure = await confirm({
    title: `Replace ${nameOf(other)}?`,
    text: "An app of this name is deployed, and it is not what you have opened here. This program would take its place, with its host name, domains and quotas. Its address:",
    address: other.address,
    action: "Replace",
    isDanger: true,
  });
  return isSure ? other : undefined;
}

/** Stores what the worker lacks of the program; gives the option and the hashes that it names. */
async function upload(onStep) {
  const encoder = new TextEncoder();
  const put = async (text, name) => {
    const bytes = encoder.encode(text);
    if (bytes.length > TEXT_BYTES_MAX) throw new Error(`${name} has ${bytes.length} bytes; at most ${TEXT_BYTES_MAX} are taken here. Use wapo deploy.`);
    const hash = await blobHash(bytes);
    await putBlob(hash, bytes);
    return hash;
  };
  onStep("Sending the program");
  keepText();
  for (const [name, file] of program.files) file.hash ??= await put(file.text, name);
  const first = firstBlob(program);
  const hash = first.hash ?? await put(first.text, "the list of files");
  const files = [...program.files.values()].map((file) => file.hash);
  return { option: first.option, hashes: [...new Set([hash, ...files])] };
}

/** Deploys; says how it went, or null when the user does not want it after all. */
async function deployProgram(onStep) {
  const label = byId("script-name").value.trim();
  if (!NAME.test(label) && label !== opened?.manifest.label) {
    byId("script-name").focus();
    throw new Error("Name: letters a to z, digits and hyphens, at most 63, no hyphen at either end.");
  }
  const engineHash = engine();
  if (!engineHash) throw new Error("This worker has no engine for JavaScript.");
  await refreshAfterChange();
  const old = await predecessor(label);
  if (old === undefined) return null;
  const blobs = await upload(onStep);
  // What it was opened with stays, under another name as well.
  const others = opened?.others ?? [];
  const manifest = manifestFor({ engine: engineHash, ...blobs, others, label }, opened?.manifest ?? null);
  const address = addressOf(manifest);
  const isThere = appByAddress(address);
  if (isThere) {
    if (STOPPED.includes(isThere.state)) await call("AppStart", { address });
  } else {
    await deploy({
      code: null,
      manifest,
      reuse_instances: old?.reuse_instances ?? true,
      name: old?.name ?? "",
      replaces: old?.address ?? "0x",
      settings: old?.settings,
    }, onStep);
  }
  await refreshAfterChange();
  opened = { address, manifest, others };
  if (isThere) return "This is deployed already.";
  return old === null ? "Deployed." : "Deployed, in place of what ran before.";
}

async function submit(event) {
  event.preventDefault();
  if (!program) return;
  if (isSending) {
    toast("This is being deployed. What you write meanwhile is for the next time.");
    return;
  }
  isSending = true;
  const button = byId("script-deploy");
  button.setAttribute("aria-busy", "true");
  showWrong("");
  const step = (text) => setText(byId("script-step"), text);
  // What is written meanwhile is a change again.
  const wasChanged = isChanged;
  isChanged = false;
  try {
    const done = await deployProgram(step);
    step("");
    if (!done) {
      isChanged ||= wasChanged;
      return;
    }
    history.replaceState(null, "", `#/script/${opened.address}`);
    showProgram(opened.address);
    step(done);
    updateScript();
    // Not waited for: what does not run is asked for a while, and may be mended meanwhile.
    ask();
  } catch (error) {
    step("");
    isChanged ||= wasChanged;
    if (!error.isCancelled) showFailure(error.message, true);
  } finally {
    isSending = false;
    button.removeAttribute("aria-busy");
  }
}

/** Shows what the last poll said. */
export function updateScript() {
  if (!isOpen || !program) return;
  const hash = engine();
  setShown(byId("script-no-engine"), store.info !== null && hash === null);
  byId("script-deploy").disabled = hash === null;
  const before = opened?.manifest.code_hash;
  setShown(byId("script-other-engine"), Boolean(hash && before && before !== hash));
  const app = opened && appByAddress(opened.address);
  const isDown = Boolean(app && ["failed", "waiting"].includes(app.state) && app.reason);
  if (isDown && !isSending && byId("script-wrong").textContent === "") showWrong(`It does not run: ${app.reason}. It is replaced when you deploy again.`);
  updateAnswer();
}

/** Connects the form. */
export function startScript() {
  let before = { text: "", time_ms: 0 };
  startAnswer((line) => {
    // While it is deployed, the lines are still those of the app before.
    if (line.level !== "error" || isSending) return;
    // The stack of an exception comes in lines of its own, the first of which has the place.
    const isStack = line.time_ms - before.time_ms <= STACK_MS;
    if (place === null && program) showFailure(isStack ? `${before.text}\n${line.text}` : line.text, false);
    before = line;
  });
  byId("script-form").addEventListener("submit", submit);
  byId("script-file").addEventListener("change", async (event) => {
    const name = event.target.value;
    try {
      keepText();
      await showFile(name);
    } catch (error) {
      byId("script-file").value = shown;
      toast(`Could not open ${name}: ${error.message}`, "error");
    }
  });
  byId("script-go").addEventListener("click", async () => {
    if (!place) return;
    const { file, line, column } = place;
    keepText();
    if (file !== shown) await showFile(file);
    editing.goTo(line, column);
  });
  byId("script-new").addEventListener("click", async () => {
    if (isSending || !await mayLeave()) return;
    history.replaceState(null, "", "#/script");
    await takeTemplate();
  });
  window.addEventListener("beforeunload", (event) => {
    if (isChanged) event.preventDefault();
  });
}
