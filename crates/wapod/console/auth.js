// The dialog that asks for the admin token, and the button that forgets it.

import { byId, setShown, setText } from "./dom.js";
import { onTokenChange, setToken, setTokenPrompt, token } from "./rpc.js";
import { toast } from "./toast.js";

/** Resolves to what was entered, or to null. */
function ask(wasRefused) {
  const dialog = byId("token-dialog");
  const input = byId("token-input");
  const error = byId("token-error");
  setText(error, wasRefused ? "The worker refused this token. It is the one of --admin-token-file or WAPOD_ADMIN_TOKEN." : "");
  input.value = "";
  return new Promise((resolve) => {
    const done = () => {
      dialog.removeEventListener("close", done);
      resolve(dialog.returnValue === "ok" ? input.value.trim() : null);
      input.value = "";
    };
    dialog.addEventListener("close", done);
    dialog.returnValue = "";
    dialog.showModal();
    input.focus();
  });
}

/** Connects dialog and button. `retry` is called when the user wants to be asked again. */
export function startAuth(retry) {
  setTokenPrompt(ask);
  const forget = byId("token-forget");
  const showForget = () => setShown(forget, token() !== null);
  onTokenChange(showForget);
  showForget();

  forget.addEventListener("click", () => {
    setToken(null);
    toast("The token is forgotten.");
    byId("main").focus();
    retry();
  });
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = byId("token-input").value.trim();
    // What cannot be in a header cannot be a token.
    if (!/^[\x21-\x7e]+$/.test(value)) {
      setText(byId("token-error"), "A token has visible ASCII characters only, and no spaces.");
      return;
    }
    byId("token-dialog").close("ok");
  });
  byId("token-cancel").addEventListener("click", () => byId("token-dialog").close("cancel"));
}
