// The list of apps that the console keeps, and the rates that follow from it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { aged, AppList } from "../app-list.js";
import { History } from "../history.js";

const app = (sn, more = {}) => ({ sn, address: `0x${sn}`, usage: { requests: 0, memory: 0 }, ...more });
const numbers = (list) => list.apps.map(({ sn }) => sn);

let revisions = 0;
/** An answer of the worker. */
const answer = (apps, more = {}) => ({ apps, removed: [], revision: `r${revisions += 1}`, is_delta: true, has_more: false, ...more });
const whole = (apps, more = {}) => answer(apps, { is_delta: false, ...more });

function listOf(apps, at = 0) {
  const list = new AppList();
  list.apply(whole(apps), at);
  return list;
}

test("a list in parts is shown when it is complete, the latest first", () => {
  const list = new AppList();
  assert.equal(list.since, "0");
  list.apply(whole([app(1), app(3)], { has_more: true, revision: "a" }), 0);
  assert.deepEqual([list.since, list.isComplete, numbers(list)], ["a", false, []]);
  list.apply(answer([app(2)], { revision: "b" }), 1);
  assert.deepEqual([list.since, list.isComplete, numbers(list)], ["b", true, [3, 2, 1]]);
});

test("changes are put in their places, and the array is another one only when apps come or go", () => {
  const list = listOf([app(1), app(2), app(3)]);
  const before = list.apps;
  list.apply(answer([app(2, { state: "running" })]), 1000);
  assert.equal(list.apps, before);
  assert.deepEqual(list.apps.map(({ state }) => state), [undefined, "running", undefined]);
  list.apply(answer([]), 2000);
  assert.equal(list.apps, before);
  list.apply(answer([app(4)], { removed: ["0x2", "0xnone"] }), 3000);
  assert.notEqual(list.apps, before);
  assert.deepEqual(numbers(list), [4, 3, 1]);
  assert.equal(list.get("0x2"), undefined);
  list.apply(answer([app(3, { state: "idle" })]), 4000);
  assert.equal(list.apps[1].state, "idle");
});

test("an app that was removed and deployed again has its new place", () => {
  const list = listOf([app(1), app(2)]);
  list.apply(answer([{ ...app(3), address: "0x1" }]), 1000);
  assert.deepEqual(numbers(list), [3, 2]);
  // The worker may tell of the removal first.
  list.apply(answer([], { removed: ["0x1"], has_more: true }), 2000);
  list.apply(answer([{ ...app(4), address: "0x1" }]), 2100);
  assert.deepEqual(numbers(list), [4, 2]);
  assert.equal(list.get("0x1").sn, 4);
});

test("an app that was deployed again counts from the beginning, though its removal was not told", () => {
  const counted = (sn, requests) => ({ ...app(sn, { usage: { requests } }), address: "0x1" });
  const list = listOf([counted(1, 100_000)]);
  list.apply(answer([counted(1, 101_000)]), 1000);
  list.apply(answer([counted(2, 50)]), 2000);
  list.apply(answer([counted(2, 100)]), 3000);
  assert.equal(list.rate("0x1", "requests"), 50);
});

test("a worker without revisions is asked for the whole list each time", () => {
  const list = listOf([app(1)]);
  list.apply(whole([app(2)], { revision: undefined }), 1000);
  assert.deepEqual([list.since, numbers(list)], ["0", [2]]);
});

test("a whole list takes the place of what was there, when it is complete", () => {
  const list = listOf([app(1), app(2), app(3)]);
  list.apply(answer([app(2, { usage: { requests: 5 } })]), 1000);
  list.apply(whole([app(2, { usage: { requests: 5 } })], { has_more: true }), 2000);
  assert.deepEqual(numbers(list), [3, 2, 1]);
  // It breaks off, and the worker is started again.
  list.apply(whole([app(3)], { has_more: true }), 3000);
  list.apply(answer([app(5)]), 3100);
  assert.deepEqual(numbers(list), [5, 3]);
  list.apply(whole([]), 4000);
  assert.deepEqual(numbers(list), []);
  assert.equal(list.rateOfAll("requests"), 0);
});

test("lists that are kept by changes are those of the worker, whatever happens", () => {
  // A worker of its own: what changes has a number, and so has what is gone.
  let [last, seed] = [0, 1];
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const apps = new Map();
  const gone = [];
  const list = new AppList();
  let told = [0, 0];
  const ask = (max, at) => {
    const [removals, known] = told;
    const found = [...apps.values()].filter(({ stamp }) => stamp > known).sort((a, b) => a.stamp - b.stamp);
    const part = found.slice(0, max);
    const hasMore = part.length < found.length;
    const removed = gone.filter(([stamp]) => stamp > removals).map(([, address]) => address)
      .filter((address) => !part.some((one) => one.address === address));
    told = [last, hasMore ? part.at(-1).stamp : last];
    list.apply({ apps: part, removed, revision: "r", is_delta: known > 0, has_more: hasMore }, at);
    return hasMore;
  };
  for (let step = 0; step < 2000; step += 1) {
    const address = `0x${random(9)}`;
    last += 1;
    if (!apps.has(address) || random(3) === 0) apps.set(address, { sn: last, address, stamp: last, usage: { requests: step } });
    else if (random(2) === 0) apps.set(address, { ...apps.get(address), stamp: last, usage: { requests: step } });
    else if (apps.delete(address)) gone.push([last, address]);
    if (step > 20) ask(1 + random(3), step * 100);
    if (step % 50 === 49) {
      while (ask(2, step * 100));
      const right = [...apps.values()].sort((a, b) => b.sn - a.sn);
      assert.deepEqual(list.apps, right, `step ${step}`);
      for (const one of right) assert.equal(list.get(one.address), one);
    }
  }
});

test("the rate of an app that does nothing any more falls to zero", () => {
  const busy = (requests) => app(1, { usage: { requests } });
  const list = listOf([busy(0), app(2)]);
  assert.equal(list.rate("0x1", "requests"), null);
  assert.equal(list.rateOfAll("requests"), null);
  list.apply(answer([busy(10)]), 1000);
  assert.equal(list.rate("0x1", "requests"), 10);
  assert.equal(list.rate("0x2", "requests"), 0);
  assert.equal(list.rateOfAll("requests"), 10);
  list.apply(answer([]), 2000);
  assert.equal(list.rate("0x1", "requests"), 5);
  for (let at = 3000; at <= 9000; at += 1000) list.apply(answer([]), at);
  assert.equal(list.rate("0x1", "requests"), 0);
  assert.equal(list.rateOfAll("requests"), 0);
  // It counts from when it began again, not from when it stopped.
  list.apply(answer([busy(20)]), 10_000);
  assert.equal(list.rate("0x1", "requests"), 4);
  assert.equal(list.rateOfAll("requests"), 4);
});

test("charts show what stands still as if it had been read all the time", () => {
  const [often, seldom] = [new History(), new History()];
  const requests = (at) => (at < 4000 ? at / 100 : at < 9000 ? 40 : 40 + (at - 9000) / 100);
  let last = -1;
  for (let at = 0; at <= 12_000; at += 1000) {
    often.add(at, { requests: requests(at) }, at - 1000);
    if (requests(at) !== last) seldom.add(at, { requests: requests(at) }, at - 1000);
    last = requests(at);
    assert.deepEqual(seldom.rates("requests", at), often.rates("requests", at), `at ${at}`);
    assert.deepEqual(seldom.levels("requests", at), often.levels("requests", at), `at ${at}`);
  }
  const hours = new History();
  hours.add(0, { memory: 7 });
  const levels = hours.levels("memory", 4 * 3600 * 1000);
  assert.ok(levels.length <= 302 && levels.every(({ value }) => value === 7));
  assert.equal(levels.at(-1).at - levels[0].at, 300_000);
});

test("what is read soon after a sample is not lost", () => {
  const history = new History();
  history.add(0, { memory: 1 });
  history.add(100, { memory: 2 });
  assert.deepEqual(history.levels("memory").map(({ value }) => value), [1, 2]);
  history.add(200, { memory: 3 });
  assert.deepEqual(history.levels("memory", 5000).map(({ value }) => value).slice(0, 2), [1, 3]);
  assert.ok(!history.isStill(2000) && history.isStill(5000));
});

test("times go on for apps of which the worker says nothing", () => {
  const told = {
    last_query_elapsed: 5,
    instance_list: [
      { phase: "running", uptime_ms: 1000, next_start_ms: 0 },
      { phase: "waiting", uptime_ms: 500, next_start_ms: 1500 },
    ],
    usage: { running_time_ms: 100, memory_mib_seconds: 3, memory: 2 ** 21, gas: 7 },
  };
  const later = aged(told, 2000.4);
  assert.equal(later.last_query_elapsed, 7);
  assert.deepEqual(later.instance_list.map(({ uptime_ms, next_start_ms }) => [uptime_ms, next_start_ms]), [[3000, 0], [2500, 0]]);
  assert.deepEqual(later.usage, { running_time_ms: 2100, memory_mib_seconds: 7, memory: 2 ** 21, gas: 7 });
  assert.deepEqual(aged({ address: "0x1" }, 1000).instance_list, []);
  const list = listOf([{ ...told, ...app(1), usage: told.usage }], 500);
  assert.equal(list.at("0x1", 3500).usage.running_time_ms, 3100);
  assert.equal(list.at("0x2", 3500), undefined);
});

test("a hundred thousand apps that do nothing take no time", () => {
  const many = Array.from({ length: 100_000 }, (_, sn) => app(sn + 1));
  const list = listOf(many);
  list.apply(answer([app(500, { usage: { requests: 1 } })]), 5000);
  const begun = performance.now();
  for (let at = 6000; at < 106_000; at += 1000) {
    list.apply(answer([app(501, { usage: { requests: at } })]), at);
    list.rateOfAll("requests");
  }
  // Some microseconds each; a look at all apps would take seconds.
  assert.ok(performance.now() - begun < 500);
  assert.equal(list.apps.length, 100_000);
});
