// A small line chart, drawn by hand: time from left to right, one value, the
// highest value marked. Pointing at it shows the value of that moment.

import { h, setText, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 72;
/** Spans of time that a chart shows: the shortest that holds what is known. */
const SPANS_MS = [60_000, 120_000, 300_000];

/** The next "round" number, so that the scale does not follow every flicker. */
function ceiling(value, base) {
  if (value <= 0) return 1;
  const unit = base ** Math.floor(Math.log(value) / Math.log(base));
  const power = unit * 10 ** Math.floor(Math.log10(Math.max(1, value / unit)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/**
 * @param {string} title
 * @param {(value: number) => string} format
 * @param {number} base 1000 for counts, 1024 for bytes
 */
export function createChart(title, format, base) {
  const area = svg("path", { class: "chart-area" });
  const line = svg("path", { class: "chart-line", "vector-effect": "non-scaling-stroke" });
  const marker = svg("line", { class: "chart-marker", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke", visibility: "hidden" });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, area, line, marker);
  const value = h("output", { class: "chart-value" });
  const top = h("span", { class: "chart-top" });
  const since = h("span");
  const element = h("figure", { class: "chart card" },
    h("figcaption", {}, h("span", {}, title), value),
    h("div", { class: "chart-box" }, top, picture),
    h("p", { class: "chart-axis", "aria-hidden": "true" }, since, h("span", {}, "now")));

  let shown = [];
  let pointed = null;

  const show = () => {
    const last = shown.at(-1);
    const nearest = pointed === null || shown.length === 0
      ? last
      : shown.reduce((a, b) => (Math.abs(b.x - pointed) < Math.abs(a.x - pointed) ? b : a));
    setText(value, nearest ? format(nearest.value) : "–");
    marker.setAttribute("visibility", pointed !== null && nearest ? "visible" : "hidden");
    if (nearest) {
      marker.setAttribute("x1", nearest.x);
      marker.setAttribute("x2", nearest.x);
    }
  };
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    pointed = ((event.clientX - box.left) / box.width) * WIDTH;
    show();
  });
  picture.addEventListener("pointerleave", () => {
    pointed = null;
    show();
  });

  return {
    element,
    /** @param {{at: number, value: number}[]} points in order of time */
    update(points) {
      const now = points.at(-1)?.at ?? 0;
      const known = now - (points[0]?.at ?? now);
      const span = SPANS_MS.find((candidate) => candidate >= known) ?? SPANS_MS.at(-1);
      const highest = points.reduce((max, point) => Math.max(max, point.value), 0);
      const scale = ceiling(highest, base);
      shown = points.map((point) => ({
        x: Math.max(0, WIDTH - ((now - point.at) / span) * WIDTH),
        y: HEIGHT - 2 - (point.value / scale) * (HEIGHT - 6),
        value: point.value,
      }));
      const path = shown.map(({ x, y }, i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      line.setAttribute("d", path);
      area.setAttribute("d", path && `${path}L${WIDTH} ${HEIGHT}L${shown[0].x.toFixed(1)} ${HEIGHT}Z`);
      setText(top, points.length > 0 ? format(scale) : "");
      setText(since, `${span / 60_000} min ago`);
      const last = points.at(-1);
      picture.setAttribute("aria-label", last
        ? `${title}: ${format(last.value)} now, at most ${format(highest)} in the last ${span / 60_000} min`
        : `${title}: not known yet`);
      show();
    },
  };
}
