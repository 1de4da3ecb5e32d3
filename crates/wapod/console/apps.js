// The page with all apps.

import { actionButtons } from "./actions.js";
import { byId, externalLink, h, hash, keyed, setShown, setText } from "./dom.js";
import { formatBytes, formatCount } from "./format.js";
import { linksOf } from "./links.js";
import { nameOf, rateOf, store } from "./store.js";
import { rateText, setState } from "./view.js";

/** Rows at a time. A page of a thousand would be slow and read by nobody. */
const ROWS_MAX = 200;

const rows = new WeakMap();

function createRow(app) {
  const label = h("a", { href: `#/apps/${app.address}`, class: "app-name" });
  const address = hash("address");
  const open = externalLink("#", "Open");
  const cell = (name, kind = "num") => h("td", { class: kind, "data-name": name });
  const state = h("span", { class: "state" });
  const parts = {
    label, address, open, state,
    instances: cell("Instances"),
    requests: cell("Requests/s"),
    gas: cell("Gas/s"),
    memory: cell("Memory"),
    buttons: actionButtons(app.address),
  };
  const row = h("tr", { "data-address": app.address },
    h("th", { scope: "row" }, label, address.element),
    h("td", { "data-name": "State" }, state),
    parts.instances, parts.requests, parts.gas, parts.memory,
    h("td", { class: "actions" }, h("div", { class: "actions-row" }, open, parts.buttons.elements)));
  rows.set(row, parts);
  return row;
}

function updateRow(row, app) {
  const parts = rows.get(row);
  setText(parts.label, nameOf(app));
  parts.address.set(app.address);
  setState(parts.state, app.state);
  if (app.reason) parts.state.title = app.reason;
  const target = Number(app.target ?? app.instances);
  setText(parts.instances, target > app.instances ? `${app.instances} of ${target}` : String(app.instances));
  setText(parts.requests, rateText(rateOf("requests", app.address), formatCount));
  setText(parts.gas, rateText(rateOf("gas", app.address), formatCount));
  setText(parts.memory, formatBytes(app.usage?.memory));
  const links = linksOf(store.info, app, location.hostname);
  setShown(parts.open, links !== null);
  if (links) {
    if (parts.open.href !== links.host) parts.open.href = links.host;
    parts.open.setAttribute("aria-label", `Open ${nameOf(app)} in a new tab`);
  }
  parts.buttons.update(app);
}

/** What is searched, by app: it is put together once for each that has changed. */
const texts = new WeakMap();

function matches(app, words) {
  let text = texts.get(app);
  if (text === undefined) {
    text = [app.manifest?.label, app.name, app.address, app.state].join(" ").toLowerCase();
    texts.set(app, text);
  }
  return words.every((word) => text.includes(word));
}

function updateSummary() {
  const { info, apps } = store;
  setText(byId("sum-instances"), `${info.running_instances} of ${info.max_instances}`);
  setText(byId("sum-requests"), apps.length > 0 ? rateText(rateOf("requests"), formatCount) : "0");
  setText(byId("sum-gas"), apps.length > 0 ? rateText(rateOf("gas"), formatCount) : "0");
  const budget = Number(info.memory_budget ?? 0);
  const committed = formatBytes(info.memory_committed);
  setText(byId("sum-memory"), budget > 0 ? `${committed} of ${formatBytes(budget)}` : committed);
}

/** Shows what the last poll said. */
export function updateApps() {
  if (!store.apps || !store.info) return;
  updateSummary();
  const isEmpty = store.apps.length === 0;
  setShown(byId("apps-empty"), isEmpty);
  setShown(byId("apps-card"), !isEmpty);
  setShown(byId("apps-filter"), store.apps.length > 1);

  const filter = byId("apps-filter").value.trim();
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = words.length > 0 ? store.apps.filter((app) => matches(app, words)) : store.apps;
  keyed(byId("apps-rows"), matching.slice(0, ROWS_MAX), (app) => app.address, createRow, updateRow);

  const none = byId("apps-none");
  setShown(none, !isEmpty && matching.length === 0);
  setText(none, `No app matches “${filter}”.`);
  const more = byId("apps-more");
  setShown(more, matching.length > ROWS_MAX);
  setText(more, `The latest ${ROWS_MAX} of ${matching.length} apps are shown. Filter to find the others.`);
}

/** Connects the page's fields. */
export function startApps() {
  byId("apps-filter").addEventListener("input", updateApps);
}
