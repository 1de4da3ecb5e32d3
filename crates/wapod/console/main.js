// Starts the console: connects the pages, shows the one that the address names,
// and tells how the connection to the worker is.
//
// A new page: a section `view-<name>` and a link in index.html; a module with `start…` and
// `update…`, called in `start` and `update` below; its name in VIEWS, its title in TITLES;
// where it has to know that it is entered or left, `open…` and `close…`, called in `show`.
// The module's file is listed in `api/console.rs`, which also says what is to be tested.

import { closeApp, openApp, startApp, updateApp } from "./app.js";
import { startApps, updateApps } from "./apps.js";
import { startAuth } from "./auth.js";
import { openDeploy, startDeploy, updateDeploy } from "./deploy.js";
import { startDialogs } from "./dialogs.js";
import { byId, setShown, setText } from "./dom.js";
import { startLogs } from "./logs.js";
import { startQuery } from "./query.js";
import { startSample } from "./sample.js";
import { closeScript, openScript, startScript, updateScript } from "./script.js";
import { onUpdate, refresh, startPolling, store } from "./store.js";
import { startWorker, updateWorker } from "./worker.js";

const VIEWS = ["apps", "app", "app-missing", "deploy", "script", "worker"];
const TITLES = { apps: "Apps", deploy: "Deploy", script: "JavaScript", worker: "Worker" };
const ADDRESS = /^0x[0-9a-f]{64}$/;

let page = null;

/** The page that the address names: `#/apps/0x…/log` is a part of an app's page, `#/script/0x…` its program. */
function route() {
  const [name, address, part] = location.hash.replace(/^#\/?/, "").split("/");
  if (name === "apps" && ADDRESS.test(address ?? "")) return { name: "app", address, part };
  if (name === "script" && ADDRESS.test(address ?? "")) return { name, address };
  return { name: name in TITLES ? name : "apps" };
}

function update() {
  const { name } = page;
  if (name === "apps") updateApps();
  else if (name === "app") updateApp();
  else if (name === "deploy") updateDeploy();
  else if (name === "script") updateScript();
  else if (name === "worker") updateWorker();
}

function show() {
  const before = page;
  page = route();
  const isOther = before !== null && (before.name !== page.name || before.address !== page.address);
  for (const view of VIEWS) setShown(byId(`view-${view}`), view === page.name && view !== "app");
  for (const link of document.querySelectorAll("[data-nav]")) {
    const isCurrent = link.dataset.nav === (page.name === "app" ? "apps" : page.name);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[page.name] ?? "App"} – Wapo console`;
  if (page.name === "app") openApp(page.address, page.part);
  else closeApp();
  if (page.name === "deploy") openDeploy();
  if (page.name === "script") openScript(page.address);
  else closeScript();
  update();
  if (isOther) {
    window.scrollTo(0, 0);
    // Readers and keyboards begin at the new page.
    byId("main").focus({ preventScroll: true });
  }
}

function showConnection() {
  const { error, info, apps } = store;
  const connection = byId("connection");
  connection.dataset.state = error ? "lost" : "ok";
  const lost = error?.status === 401 ? "token needed" : "not connected";
  setText(connection, error ? lost : `wapod ${info.version ?? ""}`.trim());
  setShown(byId("safe-mode"), info?.safe_mode === true);
  setText(byId("banner-text"), error ? error.message : "");
  setText(byId("banner-retry"), error?.status === 401 ? "Enter token" : "Try again");
  setShown(byId("banner"), error !== null);
  setText(byId("nav-count"), apps ? String(apps.length) : "");
}

function start() {
  startDialogs();
  startApps();
  startApp();
  startLogs();
  startQuery();
  startDeploy();
  startSample();
  startScript();
  startWorker();
  startAuth(refresh);
  byId("banner-retry").addEventListener("click", refresh);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  // A file that misses its place would replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

  onUpdate(showConnection);
  onUpdate(update);
  document.addEventListener("busychange", update);
  window.addEventListener("hashchange", show);
  show();
  startPolling();
}

start();
