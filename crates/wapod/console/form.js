// Reads the deploy form: texts become the arguments of `AppDeploy`, and what is
// wrong is said with the field that it is in.

import { byId } from "./dom.js";
import { parseSize } from "./format.js";
import { LABEL_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_VERSION, encodeManifest } from "./manifest.js";

const U32_MAX = 0xffffffff;
/** A label of a DNS name. */
const HOST_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const HASH = /^sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})$/;

/** Something that the user should put right. */
export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

const textOf = (id) => byId(id).value.trim();
const isChecked = (id) => byId(id).checked;
const linesOf = (id) => byId(id).value.split(/\r?\n/);

/** A hash as the worker writes it; 64 digits alone are sha256. */
export function normalHash(text) {
  const trimmed = text.trim().toLowerCase().replace(/^0x/, "");
  return /^[0-9a-f]{64}$/.test(trimmed) ? `sha256:${trimmed}` : trimmed;
}

export const isHash = (text) => HASH.test(text);

function size(id, name, empty, max = Number.MAX_SAFE_INTEGER) {
  try {
    const value = parseSize(textOf(id), empty);
    if (value > max) throw new RangeError(`at most ${max}`);
    return value;
  } catch (error) {
    throw new FieldError(id, `${name}: ${error.message}.`);
  }
}

function whole(id, name, max = Number.MAX_SAFE_INTEGER) {
  // Grouping is for readers.
  const text = textOf(id).replace(/[\s_,]/g, "");
  if (text === "") return 0;
  if (!/^\d+$/.test(text) || Number(text) > max) {
    throw new FieldError(id, `${name}: “${text}” is not a whole number${max < Number.MAX_SAFE_INTEGER ? ` up to ${max}` : ""}.`);
  }
  return Number(text);
}

function environment() {
  return linesOf("deploy-env").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const at = line.indexOf("=");
    if (at < 1) throw new FieldError("deploy-env", `Environment, line ${i + 1}: write NAME=value.`);
    return [{ key: line.slice(0, at).trim(), value: line.slice(at + 1) }];
  });
}

function requiredBlobs() {
  return linesOf("deploy-blobs").flatMap((line, i) => {
    const [key, value = "", ...more] = line.trim().split(/\s+/);
    if (key === "") return [];
    const hash = normalHash(key);
    if (!isHash(hash) || more.length > 0) {
      throw new FieldError("deploy-blobs", `Required blobs, line ${i + 1}: write a hash such as sha256:… and, after a space, its content id.`);
    }
    return [{ key: hash, value }];
  });
}

/** Quotas by name; what they mean is the worker's to say. */
function quotas() {
  return linesOf("deploy-quotas").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const at = line.indexOf("=");
    if (at < 1) throw new FieldError("deploy-quotas", `Quotas, line ${i + 1}: write NAME=VALUE such as connections-in=100.`);
    return [{ key: line.slice(0, at).trim(), value: line.slice(at + 1).trim() }];
  });
}

/** The manifest, or the first thing that is wrong with it. */
export function readManifest() {
  const code = normalHash(textOf("deploy-hash"));
  if (code === "") throw new FieldError("deploy-file", "Choose a .wasm file, or give the hash of a blob that the worker has.");
  if (!isHash(code)) throw new FieldError("deploy-hash", "Code hash: write sha256: and 64 hex digits.");
  const label = textOf("deploy-label");
  const labelBytes = new TextEncoder().encode(label).length;
  if (labelBytes > LABEL_BYTES_MAX) {
    throw new FieldError("deploy-label", `Label: ${labelBytes} bytes; at most ${LABEL_BYTES_MAX} are allowed.`);
  }
  const manifest = {
    version: MANIFEST_VERSION,
    code_hash: code,
    // An empty line at the end is how texts end; one in the middle is an argument.
    args: byId("deploy-args").value === "" ? [] : byId("deploy-args").value.replace(/\r?\n$/, "").split(/\r?\n/),
    env_vars: environment(),
    on_demand: isChecked("deploy-on-demand"),
    resizable: isChecked("deploy-resizable") && !isChecked("deploy-on-demand"),
    max_query_size: size("deploy-query-max", "Query size limit", 0, U32_MAX),
    label,
    required_blobs: requiredBlobs(),
  };
  const bytes = encodeManifest(manifest).length;
  if (bytes > MANIFEST_BYTES_MAX) {
    throw new FieldError("deploy-args", `The manifest has ${bytes} bytes; at most ${MANIFEST_BYTES_MAX} are allowed. Put long texts into a blob.`);
  }
  return manifest;
}

/** All arguments of `AppDeploy`. */
export function readRequest() {
  const manifest = readManifest();
  const name = textOf("deploy-name").toLowerCase();
  if (name !== "" && !HOST_LABEL.test(name)) {
    throw new FieldError("deploy-name", "Host name: letters a to z, digits and hyphens, at most 63, no hyphen at either end.");
  }
  return {
    manifest,
    reuse_instances: isChecked("deploy-reuse"),
    name,
    replaces: byId("deploy-replaces").value || "0x",
    settings: {
      restart_always: isChecked("deploy-restart"),
      memory_max: size("deploy-memory", "Memory limit", 0),
      gas_max: whole("deploy-gas", "Gas limit"),
      weight: whole("deploy-weight", "Share of the processor", U32_MAX),
      egress: linesOf("deploy-egress").map((line) => line.trim()).filter(Boolean),
      egress_deny: linesOf("deploy-egress-deny").map((line) => line.trim()).filter(Boolean),
      egress_only_allowed: isChecked("deploy-egress-only"),
      pass_cookies: isChecked("deploy-cookies"),
      listen_ports: textOf("deploy-ports"),
      instances: manifest.resizable ? whole("deploy-instances", "Instances at the start", U32_MAX) : 0,
      requests_max: whole("deploy-requests", "Requests at a time", U32_MAX),
      trace_calls: isChecked("deploy-trace"),
      log_to_daemon: isChecked("deploy-log"),
      cors: isChecked("deploy-cors"),
      quotas: quotas(),
    },
  };
}
