// What the Wapo object computes without the worker: hashes and encodings.
import native from "wapo:native";
import { view } from "./handles.js";

const HASHES = ["sha256", "keccak256", "blake2b128", "blake2b256", "blake2b512"];

function hashWith(names, where) {
  return (algorithm, data) => {
    if (!names.includes(algorithm)) throw new TypeError(`${where}: the algorithms are ${names.join(", ")}`);
    return native.hash.hash(algorithm, view(data, where));
  };
}

const isView = (value) => value instanceof Uint8Array;

export const pure = {
  hash: hashWith(HASHES, "hash"),
  nonCryptographicHash: hashWith(["wyhash64"], "nonCryptographicHash"),
  hexEncode: (data, prefix = false) => (prefix ? "0x" : "") + view(data, "hexEncode").toHex(),
  hexDecode: (text) => Uint8Array.fromHex(String(text).replace(/^0x/, "")),
  base64Encode: (data, pad = true) => view(data, "base64Encode").toBase64({ omitPadding: !pad }),
  // With `pad` given, the padding must be as it says; without, either will do.
  base64Decode(text, pad = undefined) {
    const given = String(text);
    if (pad === false && given.includes("=")) throw new SyntaxError("base64Decode: there is padding");
    return Uint8Array.fromBase64(given, { lastChunkHandling: pad ? "strict" : "loose" });
  },
  utf8Encode: (text) => native.text.encode(String(text)),
  utf8Decode: (data) => native.text.decode(view(data, "utf8Decode"), true, true),
  concatU8a(list) {
    const all = Array.from(list);
    if (!all.every(isView)) throw new TypeError("concatU8a: not a list of Uint8Arrays");
    const out = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of all) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  },
};
