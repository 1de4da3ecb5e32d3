// Domains of an app: host names that lead to it besides the one below the base domain.

import { confirm } from "./dialogs.js";
import { byId, h, keyed, setShown, setText } from "./dom.js";
import { call } from "./rpc.js";
import { refreshAfterChange } from "./store.js";
import { toast } from "./toast.js";

let address = null;

function showError(text) {
  setText(byId("domains-error"), text);
}

async function add(event) {
  event.preventDefault();
  const button = byId("domains-add");
  const input = byId("domains-input");
  const domain = input.value.trim();
  if (button.getAttribute("aria-disabled") === "true") return;
  if (domain === "") {
    showError("Write a domain, such as shop.example.com.");
    input.focus();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  showError("");
  const asked = address;
  try {
    await call("DomainAdd", { address: asked, domain });
    toast(`${domain} leads to this app.`);
    if (asked === address) input.value = "";
  } catch (error) {
    if (asked === address && !error.isCancelled) showError(error.message);
  } finally {
    button.removeAttribute("aria-disabled");
    await refreshAfterChange();
  }
}

async function remove(domain) {
  const asked = address;
  const isSure = await confirm({
    title: `Remove ${domain}?`,
    text: "It does not lead to this app any more, and its certificate is forgotten. Another app may have it then.",
    action: "Remove",
    isDanger: true,
  });
  if (!isSure) return;
  try {
    await call("DomainRemove", { address: asked, domain });
    toast(`${domain} is removed.`);
  } catch (error) {
    if (asked === address && !error.isCancelled) showError(error.message);
  } finally {
    await refreshAfterChange();
  }
}

/** Shows the domains that the last poll said. */
export function updateDomains(app) {
  const domains = app.domains ?? [];
  keyed(byId("domains-list"), domains, (domain) => domain, (domain) => h("li", {},
    h("span", { class: "mono" }, domain), " ",
    h("button", { type: "button", class: "small", "aria-label": `Remove ${domain}`, onclick: () => remove(domain) }, "Remove")), () => {});
  setShown(byId("domains-list"), domains.length > 0);
  setShown(byId("domains-empty"), domains.length === 0);
}

/** Begins anew for another app. */
export function openDomains(newAddress) {
  address = newAddress;
  byId("domains-input").value = "";
  showError("");
}

/** Makes the form work. */
export function startDomains() {
  byId("domains-form").addEventListener("submit", add);
}
