// The steps of a deploy, for the form and for the sample. No page, only calls.

import { call, putBlob } from "./rpc.js";

/**
 * Uploads the code unless the worker has it, then deploys.
 * @param {{code: Uint8Array | null}} request and the arguments of `AppDeploy`; without code
 *   the worker must have the blob
 * @param {(step: string, share: number | null) => void} onStep share is from 0 to 1, null while unknown
 * @returns {Promise<{address: string, name: string}>}
 */
export async function deploy({ code, ...args }, onStep = () => {}) {
  if (code) {
    onStep("Asking whether the worker has the code", null);
    await putBlob(args.manifest.code_hash, code, (sent, total) => onStep("Sending the code", sent / total));
  }
  const waits = "0x" === (args.replaces || "0x") ? "" : ", then waits until it does what the one before does";
  onStep(`Starting: the worker compiles the code when it is new${waits}`, null);
  const answer = await call("AppDeploy", args);
  return { address: answer.address, name: answer.name ?? "" };
}
