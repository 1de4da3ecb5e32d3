// The page about the worker itself.

import { newSession, removeAll } from "./actions.js";
import { byId, h, keyed, setShown, setText } from "./dom.js";
import { formatBytes, formatExact } from "./format.js";
import { store } from "./store.js";
import { createMeter, setFacts } from "./view.js";

/** Who shares a limit, in the order of the page. */
const SCOPES = { guests: "Apps", daemon: "Daemon", user: "User port", admin: "Admin port", tls: "TLS port" };

/** What stands behind the worker's evidence, where its name does not say it. */
const ATTESTATION = { "": "none: the worker cannot prove what it is", simulator: "simulator: proves nothing" };

function identity(info) {
  return [
    ["Public key", { hash: info.pubkey ?? "" }],
    ["Session", !info.session || info.session === "0x" ? "none yet" : { hash: info.session }],
    ["Version", info.version || "–"],
    ["Attestation", ATTESTATION[info.attestation ?? ""] ?? info.attestation],
  ];
}

function capacity(info) {
  const memory = info.memory_usage ?? {};
  return [
    ["Apps", formatExact(info.deployed_apps)],
    ["Live engine contexts", formatExact(info.vm_instances)],
    ["Memory of an instance, at most", formatBytes(info.instance_memory_size)],
    ["Resident", formatBytes(memory.used)],
    ["Address space, at most", formatBytes(memory.peak)],
    ["Allocated", `${formatBytes(memory.rust_used)}, at most ${formatBytes(memory.rust_peak)}`],
    ["Free on the machine", formatBytes(memory.free)],
    ["Stood still", stalls(info)],
  ];
}

/** How often the worker ran nothing for more than a second. */
function stalls(info) {
  const count = Number(info.stalls ?? 0);
  if (count === 0) return "never since its start";
  const longest = (Number(info.longest_stall_ms ?? 0) / 1000).toFixed(1);
  return `${formatExact(count)} times, ${longest} s at most; the log names the apps`;
}

function ports(info) {
  const hasBench = info.bench_app_address && info.bench_app_address !== "0x";
  return [
    ["Console and operators", location.host],
    ["Apps and queries", info.user_address || "–"],
    ["Host names of apps", info.base_domain ? `*.${info.base_domain}` : "–"],
    ["Ports that apps may listen on", info.tcp_listen_port_range || "none"],
    ["Benchmark app", hasBench ? { hash: info.bench_app_address } : "none"],
  ];
}

function modules(info) {
  const loader = info.module_loader_info ?? {};
  return [
    ["Compiled, kept in memory", `${formatExact(loader.cache_used)} of ${formatExact(loader.cache_cap)}`],
    ["Instances waiting for them", formatExact(loader.compiling_handles_len)],
  ];
}

/** Shows one limit: a bar, and how often it was reached. */
function limitMeter({ scope, name, title }) {
  const meter = createMeter(title, `${SCOPES[scope] ?? scope}: ${title}`);
  const refused = h("span", { class: "meter-refused" });
  meter.element.append(refused);
  const format = name.endsWith("_bytes") ? formatBytes : formatExact;
  meter.element.update = ({ used, max, refused: count }) => {
    meter.set(Number(used), Number(max), format);
    setShown(refused, Number(count) > 0);
    setText(refused, `${formatExact(count)} refused`);
  };
  return meter.element;
}

/** Shows everything of which there is a bounded amount, by who shares it. */
function updateLimits(budgets) {
  const scopes = [...new Set(budgets.map(({ scope }) => scope))];
  keyed(byId("worker-meters"), scopes, (scope) => scope,
    (scope) => h("section", { "data-scope": scope }, h("h3", {}, SCOPES[scope] ?? scope), h("div", { class: "meters" })),
    (section, scope) => keyed(section.lastChild, budgets.filter((one) => one.scope === scope), ({ name }) => name,
      limitMeter, (element, budget) => element.update(budget)));
}

/** Shows what the last poll said. */
export function updateWorker() {
  const { info } = store;
  if (!info) return;
  setFacts(byId("worker-identity-facts"), identity(info));
  setFacts(byId("worker-capacity-facts"), capacity(info));
  setFacts(byId("worker-ports-facts"), ports(info));
  setFacts(byId("worker-modules-facts"), modules(info));
  updateLimits(info.budgets ?? []);
  const hasApps = Number(info.deployed_apps) > 0;
  byId("worker-session").disabled = hasApps;
  byId("worker-remove-all").disabled = !hasApps;
  if (byId("worker-json").closest("details").open) setText(byId("worker-json"), JSON.stringify(info, null, 2));
}

/** Makes what does not change. */
export function startWorker() {
  byId("worker-session").addEventListener("click", newSession);
  byId("worker-remove-all").addEventListener("click", removeAll);
  byId("worker-json").closest("details").addEventListener("toggle", updateWorker);
}
