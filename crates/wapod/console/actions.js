// What can be done to an app: start, stop, resize, remove. Used by the list and
// by an app's own page. Each asks first where something would be lost.

import { askInstances, confirm } from "./dialogs.js";
import { h, setShown } from "./dom.js";
import { whileLeaving } from "./quotas.js";
import { call } from "./rpc.js";
import { appByAddress, nameOf, refreshAfterChange, store } from "./store.js";
import { toast, toastError } from "./toast.js";

/** Addresses that something is being done to. */
const busy = new Set();

const isEnded = (app) => ["stopped", "finished", "failed"].includes(app.state);

/** Whether the worker would start it: apps on demand start by themselves. */
const canStart = (app) => !app.manifest.on_demand && isEnded(app);
const canStop = (app) => app.instances > 0 || ["starting", "running", "waiting"].includes(app.state);

/** Does one thing at a time to an app, and tells how it went. */
async function act(app, doing, done, work) {
  busy.add(app.address);
  document.dispatchEvent(new Event("busychange"));
  try {
    await work();
    if (done) toast(done);
    return true;
  } catch (error) {
    toastError(doing, error);
    return false;
  } finally {
    busy.delete(app.address);
    await refreshAfterChange();
  }
}

function start(app) {
  const name = nameOf(app);
  return act(app, `Could not start ${name}`, `${name} runs.`, () => call("AppStart", { address: app.address }));
}

async function stop(app) {
  const name = nameOf(app);
  const isSure = await confirm({
    title: `Stop ${name}?`,
    text: app.manifest.on_demand
      ? "Its instances end, and requests that they are answering fail. The next request starts it again."
      : "Its instances end, and requests that they are answering fail. It stays deployed and can be started again.",
    action: "Stop",
    isDanger: true,
  });
  if (isSure) await act(app, `Could not stop ${name}`, `${name} is stopped.`, () => call("AppStop", { address: app.address }));
}

async function resize(app) {
  const name = nameOf(app);
  const free = Math.max(0, store.info.max_instances - store.info.running_instances);
  const instances = await askInstances({ name, running: app.instances, max: app.instances + free });
  if (instances === null) return;
  await act(app, `Could not resize ${name}`, null, async () => {
    const { value } = await call("AppResize", { address: app.address, instances });
    if (value === instances) toast(`${name} has ${value} ${value === 1 ? "instance" : "instances"}.`);
    else toast(`${name} has ${value} of the ${instances} instances that you asked for.`, "error");
  });
}

async function remove(app) {
  const name = nameOf(app);
  const isSure = await confirm({
    title: `Remove ${name}?`,
    text: "Its instances end, and its host name, log and usage are gone. Its code stays with the worker as a blob. Its address:",
    address: app.address,
    action: "Remove",
    isDanger: true,
  });
  if (!isSure) return;
  const isRemoved = await whileLeaving(app, (asking) => act(app, `Could not remove ${name}`, `${name} is removed.`, async () => {
    await asking;
    await call("AppRemove", { address: app.address });
  }));
  if (isRemoved && location.hash.includes(app.address)) location.hash = "#/apps";
}

const ACTIONS = [
  ["start", "Start", start],
  ["stop", "Stop", stop],
  ["resize", "Resize", resize],
  ["remove", "Remove", remove],
];

/** Buttons for the app with an address; `update` shows those that fit its state. */
export function actionButtons(address) {
  const buttons = Object.fromEntries(ACTIONS.map(([key, text, run]) => [key, h("button", {
    type: "button",
    class: "small",
    "data-action": key,
    onclick: () => {
      // What was drawn may be a second old.
      const app = appByAddress(address);
      if (app && !busy.has(address)) run(app);
    },
  }, text)]));
  return {
    elements: Object.values(buttons),
    update(app) {
      const shown = { start: canStart(app), stop: canStop(app), resize: app.manifest.resizable, remove: true };
      const focused = ACTIONS.find(([key]) => buttons[key] === document.activeElement);
      for (const [key, text] of ACTIONS) {
        setShown(buttons[key], shown[key]);
        buttons[key].setAttribute("aria-disabled", busy.has(address));
        buttons[key].setAttribute("aria-label", `${text} ${nameOf(app)}`);
      }
      // A button that goes away must not take the keyboard's place with it.
      if (focused && !shown[focused[0]]) buttons[ACTIONS.find(([key]) => shown[key])[0]].focus();
    },
  };
}

/** Removes every app, after a question. */
export async function removeAll() {
  const count = store.apps?.length ?? 0;
  const isSure = await confirm({
    title: `Remove all ${count} apps?`,
    text: "Every instance of this worker ends. Host names, logs and usage of all apps are gone.",
    action: "Remove all",
    isDanger: true,
  });
  if (!isSure) return;
  try {
    await call("AppRemoveAll");
    toast("All apps are removed.");
  } catch (error) {
    toastError("Could not remove the apps", error);
  }
  await refreshAfterChange();
}

/** Gives the worker a new session, after a question. */
export async function newSession() {
  const isSure = await confirm({
    title: "Begin a new session?",
    text: "Usage is signed under the session. A customer who settles usage with this worker must learn of the new one.",
    action: "New session",
  });
  if (!isSure) return;
  try {
    await call("WorkerInit");
    toast("The worker has a new session.");
  } catch (error) {
    toastError("Could not begin a session", error);
  }
  await refreshAfterChange();
}
