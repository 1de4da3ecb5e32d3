// What an app has used: charts of the last minutes, and counters since its deploy.

import { createChart } from "./chart.js";
import { byId } from "./dom.js";
import { formatBytes, formatCount, formatDuration, formatExact } from "./format.js";
import { pointsOf } from "./store.js";
import { setFacts } from "./view.js";

const CHARTS = [
  { key: "requests", title: "Requests/s", format: formatCount, base: 1000, isRate: true },
  { key: "gas", title: "Gas/s", format: formatCount, base: 1000, isRate: true },
  { key: "network", title: "Network/s, both ways", format: formatBytes, base: 1024, isRate: true },
  { key: "memory", title: "Memory", format: formatBytes, base: 1024, isRate: false },
];

let charts = [];

/** Makes the charts anew, for another app. */
export function openUsage() {
  charts = CHARTS.map((kind) => ({ ...kind, chart: createChart(kind.title, kind.format, kind.base) }));
  byId("app-charts").replaceChildren(...charts.map(({ chart }) => chart.element));
}

/** Shows what the last poll said of an app. */
export function updateUsage(app) {
  for (const { key, isRate, chart } of charts) chart.update(pointsOf(app.address, key, isRate));
  const usage = app.usage ?? {};
  setFacts(byId("usage-facts"), [
    ["Requests", formatExact(usage.requests)],
    ["Gas", formatExact(usage.gas)],
    ["Received", formatBytes(usage.network_ingress)],
    ["Sent", formatBytes(usage.network_egress)],
    ["Memory × time", `${formatCount(usage.memory_mib_seconds)} MiB·s`],
    ["Time of its instances", formatDuration(usage.running_time_ms)],
    ["Starts", formatExact(usage.starts)],
    ["Restarts", formatExact(usage.restarts)],
    ["Stored", formatBytes(usage.storage_bytes)],
    ["Read from storage", formatBytes(usage.storage_read)],
    ["Written to storage", formatBytes(usage.storage_write)],
    ["Connections refused", formatExact(usage.egress_denied)],
    ["Connections that an audit would refuse", formatExact(usage.egress_audited)],
    ["Tip", formatExact(usage.tip)],
  ]);
}
