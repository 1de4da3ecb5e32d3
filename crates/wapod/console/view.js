// Pieces that several pages show: states, lists of facts, bars.

import { h, hash, keyed, setShown, setText } from "./dom.js";

/** What a state means, for first-time readers. */
const MEANINGS = {
  stopped: "Stopped by its operator",
  starting: "Its code is loaded and compiled",
  running: "At work",
  waiting: "It crashed and is started again after a pause",
  finished: "It ended by itself, without an error",
  failed: "It could not be started, or crashed too often",
  idle: "Starts when a request comes",
  ended: "Over",
};

/** Shows a state in a word and a colour. */
export function setState(element, state) {
  setText(element, state || "unknown");
  element.dataset.state = state;
  element.title = MEANINGS[state] ?? "";
}

/**
 * Fills a list of facts and keeps its elements. A value is a text, or an object
 * with `hash`: that is shortened and can be copied.
 * @param {HTMLDListElement} list
 * @param {[string, string | {hash: string}][]} facts
 */
export function setFacts(list, facts) {
  keyed(list, facts, ([name]) => name, ([name, value]) => {
    const row = h("div", {}, h("dt", {}, name));
    const dd = h("dd");
    if (typeof value === "object") {
      row.hash = hash(name.toLowerCase(), 14, 8);
      dd.append(row.hash.element);
    }
    row.append(dd);
    return row;
  }, (row, [, value]) => {
    if (row.hash) row.hash.set(value.hash);
    else setText(row.lastChild, value);
  });
}

/** A bar that shows how full something is; `max` is 0 where there is no limit. */
export function createMeter(name, spoken = name) {
  const text = h("span", { class: "meter-text" });
  const fill = h("span", { class: "meter-fill" });
  const bar = h("div", { class: "meter-bar", role: "meter", "aria-label": spoken, "aria-valuemin": 0 }, fill);
  return {
    element: h("div", { class: "meter" }, h("span", {}, name), text, bar),
    set(value, max, format) {
      const share = max > 0 ? Math.min(1, value / max) : 0;
      const said = max > 0 ? `${format(value)} of ${format(max)}` : `${format(value)}, no limit`;
      setText(text, said);
      // Without an end there is nothing that a bar could be a part of.
      setShown(bar, max > 0);
      bar.setAttribute("aria-valuemax", max);
      bar.setAttribute("aria-valuenow", value);
      bar.setAttribute("aria-valuetext", said);
      fill.style.width = `${(share * 100).toFixed(1)}%`;
      fill.dataset.level = share > 0.9 ? "high" : "ok";
    },
  };
}

/** A rate, or a dash before there is one. */
export function rateText(rate, format) {
  return rate === null || rate === undefined ? "–" : format(rate);
}
