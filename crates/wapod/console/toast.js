// Short messages at the edge of the page. Good news goes by itself, bad news
// stays until it is dismissed. Screen readers hear both: the regions are live.

/** Time for reading good news. */
const SHOWN_MS = 5000;
/** Messages at a time; the oldest makes room. */
const TOASTS_MAX = 4;

/**
 * @param {string} text shown as it is, line breaks included
 * @param {"ok" | "error"} kind
 */
export function toast(text, kind = "ok") {
  const region = document.getElementById(kind === "error" ? "toasts-error" : "toasts");
  const message = document.createElement("p");
  message.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "dismiss";
  close.setAttribute("aria-label", "Dismiss message");
  close.textContent = "×";
  const item = document.createElement("div");
  item.className = `toast toast-${kind}`;
  item.append(message, close);
  close.addEventListener("click", () => item.remove());

  // The same news twice is one message.
  for (const other of region.children) {
    if (other.firstChild.textContent === text) other.remove();
  }
  while (region.childElementCount >= TOASTS_MAX) region.firstElementChild.remove();
  region.append(item);
  if (kind === "ok") setTimeout(() => item.remove(), SHOWN_MS);
}

/** Shows what went wrong, in the words of its source. */
export function toastError(doing, error) {
  if (error.isCancelled) return;
  toast(`${doing}: ${error.message}`, "error");
}
