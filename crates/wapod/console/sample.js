// The sample app: one click deploys it, and its source can be read in the page.

import { deploy } from "./deploying.js";
import { byId, setText } from "./dom.js";
import { MANIFEST_VERSION, addressOf } from "./manifest.js";
import { ownFile } from "./rpc.js";
import { blobHash } from "./sha256.js";
import { appByAddress, refreshAfterChange } from "./store.js";
import { toast, toastError } from "./toast.js";

/** Bytes of path and payload of a query to the sample. */
const QUERY_BYTES_MAX = 1024 * 1024;

async function deploySample() {
  const code = await ownFile("sample.wasm");
  const manifest = {
    version: MANIFEST_VERSION,
    code_hash: await blobHash(code),
    args: [],
    env_vars: [],
    on_demand: false,
    resizable: true,
    max_query_size: QUERY_BYTES_MAX,
    label: "sample",
    required_blobs: [],
  };
  const address = addressOf(manifest);
  await refreshAfterChange();
  if (appByAddress(address)) {
    toast("The sample is deployed already. Here it is.");
  } else {
    await deploy({ code, manifest, reuse_instances: true });
    await refreshAfterChange();
    toast("The sample runs. Its links are below its name.");
  }
  location.hash = `#/apps/${address}`;
}

/** Connects every button and the place that shows the source. */
export function startSample() {
  const buttons = document.querySelectorAll("[data-sample]");
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-busy") === "true") return;
      for (const each of buttons) each.setAttribute("aria-busy", "true");
      try {
        await deploySample();
      } catch (error) {
        toastError("Could not deploy the sample", error);
      }
      for (const each of buttons) each.removeAttribute("aria-busy");
    });
  }
  const source = byId("sample-source");
  source.addEventListener("toggle", async () => {
    if (!source.open) return;
    try {
      setText(byId("sample-text"), new TextDecoder().decode(await ownFile("sample.wat")));
    } catch (error) {
      setText(byId("sample-text"), error.message);
    }
  });
}
