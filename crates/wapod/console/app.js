// The page of one app: its head, and three parts below it (overview, log, query).

import { actionButtons } from "./actions.js";
import { byId, externalLink, h, hash, keyed, setShown, setText } from "./dom.js";
import { openDomains, startDomains, updateDomains } from "./domains.js";
import { formatBytes, formatDuration, formatExact } from "./format.js";
import { linksOf } from "./links.js";
import { closeLog, openLog } from "./logs.js";
import { isProgram } from "./program.js";
import { openQuery } from "./query.js";
import { startQuotas, updateQuotas } from "./quotas.js";
import { appNow, nameOf, store } from "./store.js";
import { openUsage, updateUsage } from "./usage.js";
import { setFacts, setState } from "./view.js";

const PARTS = ["overview", "log", "query"];

let address = null;
let part = null;
let buttons = null;
let addressHash = null;
let codeHash = null;

const yesNo = (value) => (value ? "yes" : "no");
const listed = (items) => (items?.length > 0 ? items.join("\n") : "none");
const orElse = (value, text, format = formatExact) => (Number(value ?? 0) > 0 ? format(value) : text);

function manifestFacts({ manifest, reuse_instances, sn, deployed_at_ms, last_query_elapsed, usage }) {
  const pairs = (items, sign) => listed((items ?? []).map(({ key, value }) => `${key}${sign}${value}`));
  return [
    ["Label", manifest.label || "none"],
    ["Runs", manifest.on_demand ? "on demand" : "always"],
    ["Resizable", yesNo(manifest.resizable)],
    ["Requests share instances", yesNo(reuse_instances)],
    ["Query size limit", formatBytes(manifest.max_query_size)],
    ["Arguments", listed(manifest.args)],
    ["Environment", pairs(manifest.env_vars, "=")],
    ["Required blobs", pairs(manifest.required_blobs, " ")],
    ["Serial number", String(sn)],
    ["Deployed", deployed_at_ms ? new Date(Number(deployed_at_ms)).toLocaleString() : "–"],
    // Before the first one the worker counts from the deploy.
    ["Last request", Number(usage?.requests ?? 0) === 0 ? "none yet" : `${formatDuration(Number(last_query_elapsed) * 1000)} ago`],
  ];
}

function settingsFacts(app) {
  const settings = app.settings ?? {};
  return [
    ["Host name", app.name || "none"],
    ["Memory limit", orElse(settings.memory_max, "the worker’s", formatBytes)],
    ["Gas limit", orElse(settings.gas_max, "none")],
    ["Share of the processor", orElse(settings.weight, "1")],
    ["Requests at a time", orElse(settings.requests_max, "the worker’s")],
    ["Ports it may listen on", settings.listen_ports || "the worker’s"],
    ["May connect to", [settings.egress_only_allowed ? "nothing else than" : "public addresses", ...(settings.egress ?? [])].join("\n")],
    ["May not connect to", settings.egress_deny?.length > 0 ? settings.egress_deny.join("\n") : "as the worker says"],
    ["Starts again after a normal end", yesNo(settings.restart_always)],
    ["Cookies below /app/", settings.pass_cookies ? "passed" : "removed"],
    ["Web pages of other origins", settings.cors ? "may use it" : "as the app says"],
    ["Host calls in its log", yesNo(settings.trace_calls)],
    ["Log copied to the daemon’s", yesNo(settings.log_to_daemon)],
  ];
}

function updateInstances(app) {
  const list = app.instance_list ?? [];
  keyed(byId("instances-rows"), list, ({ id }) => id, () => {
    const phase = h("span", { class: "state" });
    const cell = (name, kind = "num") => h("td", { class: kind, "data-name": name });
    return h("tr", {}, h("th", { scope: "row" }), h("td", { "data-name": "Phase" }, phase),
      cell("Up"), cell("Requests"), cell("Memory"), cell("Restarts"), cell("Listens on", "mono"));
  }, (row, instance) => {
    const [id, phase, up, requests, memory, restarts, listening] = row.children;
    setText(id, `#${instance.id}`);
    setState(phase.firstChild, instance.phase);
    setText(up, formatDuration(instance.uptime_ms));
    setText(requests, formatExact(instance.requests));
    setText(memory, formatBytes(instance.memory));
    setText(restarts, formatExact(instance.restarts));
    const udp = (instance.listening_udp ?? []).map((one) => `${one} (UDP)`);
    setText(listening, [...(instance.listening ?? []), ...udp, ...(instance.server_names ?? [])].join(", ") || "–");
  });
  const empty = byId("instances-empty");
  setShown(empty, list.length === 0);
  setShown(byId("instances-table"), list.length > 0);
  setText(empty, app.manifest.on_demand
    ? "No instance right now. The next request starts one."
    : "No instance. Start the app to get one.");
}

function updateLinks(app) {
  const links = linksOf(store.info, app, location.hostname);
  const items = links ? [["host", links.host], ["path", links.path]] : [];
  keyed(byId("app-links"), items, ([kind]) => kind, ([kind]) => {
    const link = externalLink("#", "");
    link.id = `app-link-${kind}`;
    return link;
  }, (link, [, url]) => {
    if (link.href === url) return;
    link.href = url;
    // An address in a link is as long as everywhere else.
    setText(link, url.replace(/[0-9a-f]{64}|[a-z2-7]{52}/, (text) => `${text.slice(0, 8)}…${text.slice(-6)}`));
    link.title = url;
  });
}

/** Shows what the last poll said. */
export function updateApp() {
  if (!address || !store.apps) return;
  const app = appNow(address);
  setShown(byId("view-app"), app !== undefined);
  setShown(byId("view-app-missing"), app === undefined);
  if (!app) {
    setText(byId("missing-address"), address);
    closeLog();
    return;
  }
  setText(byId("app-title"), nameOf(app));
  document.title = `${nameOf(app)} – Wapo console`;
  setState(byId("app-state"), app.state);
  setText(byId("app-reason"), app.reason ?? "");
  byId("app-reason").dataset.state = app.state;
  setShown(byId("app-reason"), Boolean(app.reason));
  addressHash.set(app.address);
  codeHash.set(app.manifest.code_hash);
  updateLinks(app);
  buttons.update(app);
  setShown(byId("app-edit"), isProgram(app));
  byId("app-edit").href = `#/script/${app.address}`;
  if (part === "overview") {
    updateInstances(app);
    updateUsage(app);
    updateQuotas(app);
    setFacts(byId("manifest-facts"), manifestFacts(app));
    setFacts(byId("settings-facts"), settingsFacts(app));
    updateDomains(app);
  } else if (part === "log") {
    openLog(address);
  }
}

/** Shows a part of the page of an app. */
export function openApp(newAddress, newPart) {
  if (newAddress !== address) {
    address = newAddress;
    buttons = actionButtons(address);
    byId("app-actions").replaceChildren(...buttons.elements);
    openUsage();
    openQuery(address);
    openDomains(address);
  }
  part = PARTS.includes(newPart) ? newPart : "overview";
  for (const name of PARTS) {
    setShown(byId(`app-${name}`), name === part);
    const link = byId(`app-nav-${name}`);
    link.href = `#/apps/${address}${name === "overview" ? "" : `/${name}`}`;
    if (name === part) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (part !== "log") closeLog();
  updateApp();
}

/** Called when another page is shown. */
export function closeApp() {
  address = null;
  closeLog();
}

/** Makes what every app's page has. */
export function startApp() {
  addressHash = hash("address", 14, 8);
  codeHash = hash("code hash", 18, 8);
  byId("app-address").append(addressHash.element);
  byId("app-code").append(codeHash.element);
  startQuotas();
  startDomains();
}
