// Where a program is written: the editor component, if this worker has it, else a text
// area that does the same. Knows nothing of the worker.

import { h } from "./dom.js";

/** Lines of the text area. */
const ROWS = 22;

/**
 * @typedef {object} Editing
 * @property {() => string} text
 * @property {(text: string) => void} setText
 * @property {(line: number, column: number) => void} goTo counted from 1; also takes the focus
 * @property {(line: number | null) => void} mark shows in which line something is wrong
 */

/**
 * Puts an editor into an element.
 * @param {HTMLElement} place
 * @param {{label: string, onChange: () => void, onSubmit: () => void}} options
 * @returns {Promise<Editing>}
 */
export async function openEditor(place, options) {
  let create = null;
  try {
    ({ createEditor: create } = await import("./editor.js"));
  } catch {
    // It could not be loaded; the text area needs nothing.
  }
  return (create ?? createArea)(place, options);
}

/** Offset of a place in a text, or of its end. */
function offsetOf(text, line, column) {
  const lines = text.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  return Math.min(before + Math.min(column - 1, lines[line - 1]?.length ?? 0), text.length);
}

function createArea(place, { label, onChange, onSubmit }) {
  const area = h("textarea", {
    id: "script-area", class: "mono", rows: ROWS, wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": label,
  });
  area.addEventListener("input", onChange);
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    onSubmit();
  });
  place.replaceChildren(area);
  return {
    text: () => area.value,
    setText: (text) => { area.value = text; },
    goTo(line, column) {
      const at = offsetOf(area.value, line, column);
      area.focus();
      area.setSelectionRange(at, at);
    },
    mark: (line) => {
      if (line === null) area.removeAttribute("aria-invalid");
      else area.setAttribute("aria-invalid", "true");
    },
  };
}
