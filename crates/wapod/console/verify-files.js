// What a file is to a verification, found out from its name and its first bytes, and how
// the files become one message to the verifier. Pure functions.

const KIB = 1024;

/**
 * What a file can be, in the order of the page's lists. `bytesMax` is what the verifier
 * takes: nothing longer is read.
 */
export const ROLES = {
  "worker": { title: "Evidence of a worker", bytesMax: 1024 * KIB },
  "app": { title: "Evidence of an app", bytesMax: 1024 * KIB },
  "certificate": { title: "Certificate with evidence", bytesMax: 1024 * KIB },
  "quote": { title: "Quote", bytesMax: 96 * KIB },
  "chip-certificates": { title: "Certificates of the chip", bytesMax: 96 * KIB },
  "usage": { title: "Bill", bytesMax: 65536 * KIB },
  "answer": { title: "Signed answer", bytesMax: 65536 * KIB },
  "collateral": { title: "Collateral", bytesMax: 256 * KIB },
  "policy": { title: "Policy", bytesMax: 1024 * KIB },
};

/** Bytes of a file that are looked at to find out what it is. */
export const HEAD_BYTES = 4096;

const KINDS = { "usage": "usage", "worker-evidence": "worker", "app-evidence": "app", "answer": "answer" };
/** Bytes of a report of SEV-SNP. */
const SNP_REPORT_BYTES = 1184;

/** The first bytes of a quote, also where they are written as hex. */
function quoteHead(head, text) {
  const digits = /^\s*(?:0x)?((?:[0-9a-f]{2}){8})/i.exec(text);
  return digits ? digits[1].match(/../g).map((pair) => parseInt(pair, 16)) : Array.from(head.subarray(0, 8));
}

function isQuote([version, zero, , , ...kind], size) {
  const is = (wanted) => zero === 0 && wanted.every((byte, i) => kind[i] === byte);
  return (version === 3 && is([0, 0, 0, 0])) || ((version === 4 || version === 5) && is([0x81, 0, 0, 0]))
    || size === SNP_REPORT_BYTES;
}

/**
 * What a file seems to be; its user may know better.
 * @param {string} name
 * @param {number} size bytes of the whole file
 * @param {Uint8Array} head its first {@link HEAD_BYTES}
 * @returns {keyof ROLES | ""} "" when nothing is like it
 */
export function roleOf(name, size, head) {
  const text = Array.from(head, (byte) => String.fromCharCode(byte)).join("").trimStart();
  const ending = /\.(\w+)$/.exec(name)?.[1].toLowerCase();
  if (text.startsWith("{")) {
    const kind = /"kind"\s*:\s*"wapo-(usage|worker-evidence|app-evidence|answer)"/.exec(text);
    if (kind) return KINDS[kind[1]];
    if (/"(?:tcb_info|pck_crl)/.test(text)) return "collateral";
    return ending === "json" ? "policy" : "";
  }
  if (ending === "toml") return "policy";
  if (text.startsWith("-----BEGIN CERTIFICATE")) return "certificate";
  if (isQuote(quoteHead(head, text), size)) return "quote";
  if (head[0] === 0x30 && head[1] === 0x82) return "certificate";
  return "";
}

/**
 * One message: the length of its head, the head, the contents.
 * @param {object} head without its list of files
 * @param {{role: string, name: string, bytes: Uint8Array}[]} files
 */
export function encodeMessage(head, files) {
  const list = files.map(({ role, name, bytes }) => ({ role, name, bytes: bytes.length }));
  const json = new TextEncoder().encode(JSON.stringify({ ...head, files: list }));
  const message = new Uint8Array(4 + json.length + files.reduce((sum, { bytes }) => sum + bytes.length, 0));
  new DataView(message.buffer).setUint32(0, json.length, true);
  message.set(json, 4);
  let at = 4 + json.length;
  for (const { bytes } of files) {
    message.set(bytes, at);
    at += bytes.length;
  }
  return message;
}
