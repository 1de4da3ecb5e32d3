// The questions that are asked before something happens. The browser closes them
// on Escape and puts the focus back; that Tab stays inside is seen to here.

import { byId, setShown, setText } from "./dom.js";

/** Shows a dialog; whether it is closed with "ok". Who goes to another page has cancelled. */
function asked(dialog) {
  return new Promise((resolve) => {
    const done = () => {
      // The event of a question before this one comes late.
      if (dialog.open) return;
      dialog.removeEventListener("close", done);
      window.removeEventListener("hashchange", leave, true);
      resolve(dialog.returnValue === "ok");
    };
    const leave = () => {
      dialog.close("cancel");
      done();
    };
    dialog.addEventListener("close", done);
    // Before the page looks: it may have a question of its own.
    window.addEventListener("hashchange", leave, true);
    dialog.returnValue = "cancel";
    dialog.showModal();
  });
}

/**
 * Asks before something that cannot be undone.
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, address = "", action, isDanger = false }) {
  const dialog = byId("confirm-dialog");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-address"), address);
  setShown(byId("confirm-address"), address !== "");
  const ok = byId("confirm-ok");
  setText(ok, action);
  ok.className = isDanger ? "danger" : "primary";
  const answer = asked(dialog);
  // What destroys is never one key press away.
  (isDanger ? byId("confirm-cancel") : ok).focus();
  return answer;
}

/**
 * Asks for a number of instances.
 * @returns {Promise<number | null>}
 */
export async function askInstances({ name, running, max }) {
  const dialog = byId("resize-dialog");
  const form = byId("resize-form");
  const input = byId("resize-count");
  const error = byId("resize-error");
  setText(byId("resize-title"), `Resize ${name}`);
  setText(byId("resize-info"), `${running} running. The worker has room for ${max} of this app; 0 stops it.`);
  setText(error, "");
  input.max = max;
  input.value = running;
  const submit = (event) => {
    event.preventDefault();
    const count = Number(input.value);
    if (input.value.trim() === "" || !Number.isInteger(count) || count < 0 || count > max) {
      setText(error, `A whole number from 0 to ${max}, please.`);
      input.focus();
      return;
    }
    dialog.close("ok");
  };
  form.addEventListener("submit", submit);
  const answer = asked(dialog);
  input.select();
  const isSure = await answer;
  form.removeEventListener("submit", submit);
  return isSure ? Number(input.value) : null;
}

/** The browser would let Tab leave for its own bars, where readers get lost. */
function keepTabInside(event) {
  if (event.key !== "Tab") return;
  const dialog = event.currentTarget;
  const stops = [...dialog.querySelectorAll("button, input")].filter((stop) => !stop.disabled && !stop.hidden);
  const [from, to] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
  if (document.activeElement !== from && dialog.contains(document.activeElement)) return;
  event.preventDefault();
  to.focus();
}

/** Connects what does not depend on the question. */
export function startDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("keydown", keepTabInside);
  byId("resize-cancel").addEventListener("click", () => byId("resize-dialog").close("cancel"));
}
