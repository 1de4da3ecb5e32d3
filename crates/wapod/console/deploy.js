// The page that deploys an app: takes the file, shows the address as it follows
// from the form, sends, and shows what came of it.

import { deploy } from "./deploying.js";
import { byId, externalLink, h, hash, keyed, setShown, setText } from "./dom.js";
import { FieldError, isHash, normalHash, readManifest, readRequest } from "./form.js";
import { formatBytes } from "./format.js";
import { linksOf } from "./links.js";
import { addressOf } from "./manifest.js";
import { call } from "./rpc.js";
import { blobHash } from "./sha256.js";
import { appByAddress, nameOf, refreshAfterChange, store } from "./store.js";
import { toast } from "./toast.js";

/** How every WebAssembly file begins. */
const MAGIC = [0x00, 0x61, 0x73, 0x6d];
/** Pause in typing after which the worker is asked for a blob. */
const TYPING_MS = 400;

/** @type {{name: string, bytes: Uint8Array, hash: string} | null} */
let file = null;
let addressHash = null;
let askTimer = null;
let isSending = false;

function fileInfo(text, isBad = false) {
  const info = byId("deploy-file-info");
  setText(info, text);
  info.classList.toggle("error-text", isBad);
}

async function take(chosen) {
  if (!chosen) return;
  file = null;
  fileInfo(`Reading ${chosen.name}`);
  const bytes = new Uint8Array(await chosen.arrayBuffer());
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) {
    const isText = /\.wat$/i.test(chosen.name);
    fileInfo(isText
      ? `${chosen.name} is WebAssembly’s text form. Make a binary of it first, for instance with wat2wasm.`
      : `${chosen.name} is not a WebAssembly file: it does not begin with \\0asm.`, true);
    return;
  }
  file = { name: chosen.name, bytes, hash: await blobHash(bytes) };
  fileInfo(`${file.name}, ${formatBytes(bytes.length)}`);
  byId("deploy-hash").value = file.hash;
  const label = byId("deploy-label");
  if (label.value === "") label.value = chosen.name.replace(/\.wasm$/i, "").slice(0, 32);
  describeHash();
  update();
}

/** Says where the code of the given hash will come from. */
function describeHash() {
  clearTimeout(askTimer);
  const given = normalHash(byId("deploy-hash").value);
  const info = byId("deploy-hash-info");
  if (file && given === file.hash) {
    setText(info, "The hash of the file. It is sent unless the worker has it.");
  } else if (!isHash(given)) {
    setText(info, "Filled in from the file, or give the hash of a blob that the worker has.");
  } else {
    setText(info, "Asking the worker");
    askTimer = setTimeout(async () => {
      try {
        const { value } = await call("BlobExists", { hash: given });
        if (normalHash(byId("deploy-hash").value) !== given) return;
        setText(info, value ? "The worker has this blob." : "The worker does not have this blob: choose its file.");
      } catch (error) {
        setText(info, error.message);
      }
    }, TYPING_MS);
  }
}

/** Shows the address that the app will have, or what is missing for that. */
function showAddress() {
  const info = byId("deploy-address-info");
  info.replaceChildren();
  try {
    const address = addressOf(readManifest());
    addressHash.set(address);
    const existing = appByAddress(address);
    if (existing) {
      info.append("An app with exactly this manifest is deployed already: ",
        h("a", { href: `#/apps/${address}` }, nameOf(existing)), ". Change the label to have another.");
    } else {
      info.append("It follows from code, label, arguments, environment, mode, query limit and blobs.");
    }
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    addressHash.set("");
    info.append(error.field === "deploy-file" ? "Known as soon as there is a code hash." : error.message);
  }
}

function update() {
  const isOnDemand = byId("deploy-on-demand").checked;
  const resizable = byId("deploy-resizable");
  resizable.disabled = isOnDemand;
  if (isOnDemand) resizable.checked = false;
  byId("deploy-instances").disabled = !resizable.checked;
  showAddress();
}

function fail(error) {
  setText(byId("deploy-error"), error.message);
  for (const field of byId("deploy-form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  if (!(error instanceof FieldError)) return;
  const field = byId(error.field);
  // A field in a closed part cannot be seen.
  const part = field.closest("details");
  if (part) part.open = true;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function showStep(step, share) {
  setText(byId("deploy-step"), share === null ? step : `${step}, ${Math.round(share * 100)} %`);
  if (share === null) byId("deploy-bar").removeAttribute("value");
  else byId("deploy-bar").value = share;
}

function showResult({ address, name }, expected) {
  const whole = hash("address", 66, 0);
  whole.set(address);
  const links = linksOf(store.info, { address, name }, location.hostname);
  const result = byId("deploy-result");
  result.replaceChildren(
    h("h2", {}, "Deployed"),
    h("p", {}, whole.element),
    address === expected ? "" : h("p", { class: "error-text" }, `The console expected ${expected}. The worker's address is the true one.`),
    links ? h("p", {}, externalLink(links.host, links.host)) : "",
    links ? h("p", {}, externalLink(links.path, links.path)) : "",
    h("p", { class: "row" }, h("a", { class: "button primary", href: `#/apps/${address}` }, "Show the app"),
      h("a", { class: "button", href: `#/apps/${address}/log` }, "Follow its log")),
  );
  setShown(result, true);
  result.focus();
}

async function submit(event) {
  event.preventDefault();
  if (isSending) return;
  fail({ message: "" });
  setShown(byId("deploy-result"), false);
  try {
    const request = readRequest();
    const expected = addressOf(request.manifest);
    const code = file?.hash === request.manifest.code_hash ? file.bytes : null;
    isSending = true;
    byId("deploy-submit").setAttribute("aria-busy", "true");
    setShown(byId("deploy-progress"), true);
    const answer = await deploy({ code, ...request }, showStep);
    await refreshAfterChange();
    toast(`${request.manifest.label || "The app"} is deployed.`);
    showResult(answer, expected);
  } catch (error) {
    if (!error.isCancelled) fail(error);
  } finally {
    isSending = false;
    byId("deploy-submit").removeAttribute("aria-busy");
    setShown(byId("deploy-progress"), false);
    showAddress();
  }
}

/** The apps that are in the form. */
let offered = null;

/** Shows what the last poll said: apps to replace, code that the worker has. */
export function updateDeploy() {
  const apps = store.apps ?? [];
  // A name that changed is shown when the page is opened again, or an app comes or goes.
  if (apps === offered) return;
  offered = apps;
  keyed(byId("deploy-replaces"), [{ address: "" }, ...apps], (app) => app.address,
    (app) => h("option", { value: app.address }),
    (option, app) => setText(option, app.address === "" ? "no other app" : `${nameOf(app)} (${app.address.slice(0, 10)}…)`));
  const codes = new Map(apps.map((app) => [app.manifest.code_hash, nameOf(app)]));
  keyed(byId("deploy-hashes"), [...codes], ([code]) => code,
    ([code]) => h("option", { value: code }),
    (option, [, name]) => setText(option, name));
}

/** Called when the page is shown. */
export function openDeploy() {
  offered = null;
  update();
}

function startDrop() {
  const drop = byId("deploy-drop");
  const input = byId("deploy-file");
  const mark = (isOver) => () => drop.classList.toggle("over", isOver);
  drop.addEventListener("dragenter", mark(true));
  drop.addEventListener("dragover", mark(true));
  drop.addEventListener("dragleave", mark(false));
  drop.addEventListener("drop", (event) => {
    mark(false)();
    take(event.dataTransfer.files[0]);
  });
  input.addEventListener("change", () => {
    take(input.files[0]);
    // The same file, built again, is a change too.
    input.value = "";
  });
}

/** Connects the form. */
export function startDeploy() {
  addressHash = hash("address", 66, 0);
  byId("deploy-address").append(addressHash.element);
  const form = byId("deploy-form");
  form.addEventListener("input", (event) => {
    event.target.removeAttribute("aria-invalid");
    if (event.target.id === "deploy-hash") describeHash();
    update();
  });
  form.addEventListener("submit", submit);
  form.addEventListener("reset", () => {
    file = null;
    fileInfo("It stays in the browser until you deploy.");
    fail({ message: "" });
    setShown(byId("deploy-result"), false);
    // The fields are reset after this event.
    setTimeout(() => {
      describeHash();
      update();
    });
  });
  startDrop();
}
