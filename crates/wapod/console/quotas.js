// The quotas of an app: how much it has of each, how much it may have, and a form
// that changes one while the app runs. The worker names them and reads the values.

import { byId, h, keyed, setShown, setText } from "./dom.js";
import { formatBytes, formatExact } from "./format.js";
import { call, POLL_TIMEOUT_MS } from "./rpc.js";
import { appByAddress, nameOf } from "./store.js";
import { toast } from "./toast.js";

const PER_SECOND = ["bytes/s", "gas/s", "millicores"];

let address = null;
/** The question under way, if any: its answer is soon enough. Never fails. */
let asking = null;
/** Addresses of apps that are being removed: the worker may not know them any more. */
const leaving = new Set();

const cores = (value) => (Number(value) / 1000).toFixed(2);

function formatUsed({ unit, used, is_limited }) {
  // Nobody counts it without a limit.
  if (PER_SECOND.includes(unit) && !is_limited) return "–";
  if (unit === "bytes") return formatBytes(used);
  if (unit === "bytes/s") return `${formatBytes(used)}/s`;
  if (unit === "millicores") return cores(used);
  return formatExact(used);
}

function formatMax({ unit, max, is_limited }) {
  if (!is_limited) return "no limit";
  if (unit === "bytes") return formatBytes(max);
  if (unit === "bytes/s") return `${formatBytes(max)}/s`;
  if (unit === "millicores") return cores(max);
  return formatExact(max);
}

function show(quotas) {
  keyed(byId("quotas-rows"), quotas, ({ name }) => name, (quota) => {
    const cell = (title, kind = "num") => h("td", { class: kind, "data-name": title });
    return h("tr", { "data-quota": quota.name }, h("th", { scope: "row", class: "mono" }, quota.name),
      cell("Used"), cell("Limit"), cell("From", ""), cell("Reached"), cell("At the limit", ""));
  }, (row, quota) => {
    const [, used, limit, from, reached, atLimit] = row.children;
    setText(used, formatUsed(quota));
    setText(limit, formatMax(quota));
    setText(from, quota.is_own ? "the app" : quota.is_limited ? "the worker" : "–");
    setText(reached, Number(quota.refused) > 0 ? `${formatExact(quota.refused)} ×` : "–");
    setText(atLimit, quota.at_limit);
  });
  const select = byId("quota-name");
  keyed(select, quotas, ({ name }) => name, ({ name }) => h("option", { value: name }, name), () => {});
  setShown(byId("quotas-empty"), false);
}

async function ask() {
  const asked = address;
  try {
    const { quotas } = await call("AppSettingsGet", { address: asked }, { timeoutMs: POLL_TIMEOUT_MS });
    if (asked === address) show(quotas);
  } catch {
    // The poll itself says what is wrong with the worker.
  }
}

/** Asks the worker for the quotas of the app that is shown, with each of its polls. */
export function updateQuotas(app) {
  address = app.address;
  if (leaving.has(address)) return;
  asking ??= ask().finally(() => { asking = null; });
}

/** Removes an app by `work`, without a question about it from before that until after it. */
export async function whileLeaving(app, work) {
  leaving.add(app.address);
  try {
    return await work(asking);
  } finally {
    leaving.delete(app.address);
  }
}

async function change(event) {
  event.preventDefault();
  const [name, input, error] = [byId("quota-name").value, byId("quota-value"), byId("quota-error")];
  const value = input.value.trim() || "default";
  // Another app may be shown when the worker answers.
  const asked = address;
  setText(error, "");
  input.removeAttribute("aria-invalid");
  try {
    const { quotas } = await call("AppSettingsSet", { address: asked, quotas: [{ key: name, value }] });
    const app = appByAddress(asked);
    toast(`${name} of ${app ? nameOf(app) : "the app"}: ${value === "default" ? "as the worker gives it" : value}.`);
    if (asked !== address) return;
    show(quotas);
    input.value = "";
  } catch (failure) {
    if (asked !== address) return;
    setText(error, failure.message);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

/** Connects the form. */
export function startQuotas() {
  byId("quota-form").addEventListener("submit", change);
}
