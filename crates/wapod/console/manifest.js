// What an app is: its manifest, and the address that follows from it. Pure
// functions; the worker computes the same and has the last word.

import { blake2b256 } from "./blake2b.js";
import { ScaleWriter } from "./scale.js";
import { toHex } from "./format.js";

/** The only version of manifests that there is. */
export const MANIFEST_VERSION = 1;
/** Bytes of a manifest that a worker accepts. */
export const MANIFEST_BYTES_MAX = 16384;
/** Bytes of a label that a worker accepts. */
export const LABEL_BYTES_MAX = 64;

const pair = (writer, { key, value }) => writer.string(key).string(value);
const text = (writer, item) => writer.string(item);

/** The manifest as the bytes that are hashed. */
export function encodeManifest(manifest) {
  return new ScaleWriter()
    .u32(manifest.version)
    .string(manifest.code_hash)
    .vector(manifest.args, text)
    .vector(manifest.env_vars, pair)
    .bool(manifest.on_demand)
    .bool(manifest.resizable)
    .u32(manifest.max_query_size)
    .string(manifest.label)
    .vector(manifest.required_blobs, pair)
    .finish();
}

/** The address of the app with this manifest: `0x` and 64 digits. */
export function addressOf(manifest) {
  return `0x${toHex(blake2b256(encodeManifest(manifest)))}`;
}
