// The query tool: a path and bytes in, bytes out.

import { byId, copy, setShown, setText } from "./dom.js";
import { asText, formatBytes, fromHex, hexDump, toHex } from "./format.js";
import { call } from "./rpc.js";

/** Bytes of an answer that are shown; all of it can be copied. */
const SHOWN_BYTES_MAX = 64 * 1024;

let address = null;
let answer = null;

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

function payload() {
  const text = byId("query-payload").value;
  // What begins with 0x and is hex was meant as hex only if the user says so.
  return chosen("query-kind") === "hex" ? fromHex(text) : new TextEncoder().encode(text);
}

function showSize() {
  try {
    setText(byId("query-size"), formatBytes(payload().length));
    setText(byId("query-error"), "");
    return true;
  } catch (error) {
    setText(byId("query-size"), "");
    setText(byId("query-error"), `Payload: ${error.message}`);
    return false;
  }
}

function answerText() {
  return chosen("answer-kind") === "text" ? asText(answer) ?? "" : `0x${toHex(answer)}`;
}

function showAnswer() {
  if (!answer) return;
  const shown = answer.subarray(0, SHOWN_BYTES_MAX);
  const rest = answer.length > shown.length ? `\n… ${formatBytes(answer.length - shown.length)} more; copy to get all` : "";
  if (answer.length === 0) setText(byId("query-output"), "(empty)");
  else setText(byId("query-output"), (chosen("answer-kind") === "text" ? new TextDecoder().decode(shown) : hexDump(shown)) + rest);
}

async function send(event) {
  event.preventDefault();
  const button = byId("query-send");
  if (!showSize() || button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  setText(byId("query-error"), "");
  const start = performance.now();
  const asked = address;
  try {
    const { output } = await call("AppQuery", {
      address,
      path: byId("query-path").value,
      payload: `0x${toHex(payload())}`,
    });
    if (asked !== address) return;
    answer = fromHex(output);
    setText(byId("query-took"), `${formatBytes(answer.length)} in ${Math.round(performance.now() - start)} ms`);
    // Bytes that are no text are shown as what they are.
    const isText = asText(answer) !== null;
    const kinds = document.querySelectorAll('input[name="answer-kind"]');
    kinds[0].disabled = !isText;
    kinds[isText ? 0 : 1].checked = true;
    setShown(byId("query-answer"), true);
    showAnswer();
  } catch (error) {
    if (asked !== address || error.isCancelled) return;
    setText(byId("query-error"), error.message);
    setShown(byId("query-answer"), false);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Begins with another app. */
export function openQuery(newAddress) {
  address = newAddress;
  answer = null;
  setShown(byId("query-answer"), false);
  showSize();
}

/** Connects the form. */
export function startQuery() {
  const form = byId("query-form");
  form.addEventListener("submit", send);
  form.addEventListener("input", showSize);
  byId("query-payload").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  for (const kind of document.querySelectorAll('input[name="answer-kind"]')) {
    kind.addEventListener("change", showAnswer);
  }
  byId("query-copy").addEventListener("click", () => copy(answerText(), "the answer"));
}
