// AsyncLocalStorage: its store follows promises, await, thenables, timers, microtasks, streams and events, and leaks to nobody else.
// Node.js documentation, "Asynchronous context tracking".
import { AsyncLocalStorage, AsyncResource, createHook } from "node:async_hooks";
import { EventEmitter } from "events";
import { setTimeout as later } from "node:timers/promises";
import { service, streamOf, thrown, wait } from "./check.js";

const storage = new AsyncLocalStorage();
const here = () => storage.getStore();

export default service({
  async promises(equal) {
    equal("none outside", here(), undefined);
    const ready = Promise.resolve(1), slow = wait(5), failed = Promise.reject(new Error("x"));
    failed.catch(() => {});
    const seen = await storage.run("a", async () => {
      const all = [here()];
      await ready;
      all.push(here());
      await slow;
      all.push(here());
      await failed.catch(() => all.push(here()));
      try { await Promise.reject(1); } catch { all.push(here()); } finally { all.push(here()); }
      await Promise.all([wait(1), slow]).then(() => all.push(here()));
      return all;
    });
    equal("all along", seen, ["a", "a", "a", "a", "a", "a", "a"]);
    equal("none after", here(), undefined);
  },
  async whoRegisters(equal) {
    // The reaction belongs to the caller of `then`, not to the code that settles the promise.
    const { promise, resolve } = Promise.withResolvers();
    const seen = [];
    const both = [storage.run("one", () => promise.then(() => seen.push(here()))), storage.run("two", () => promise.then(() => seen.push(here()))), promise.then(() => seen.push(here()))];
    storage.run("three", resolve);
    await Promise.all(both);
    equal("each its own", seen, ["one", "two", undefined]);
  },
  async thenables(equal) {
    const seen = [];
    await storage.run("t", async () => {
      await { then(done) { seen.push(here()); done(); } };
      seen.push(here());
      await new Promise((resolve) => resolve({ then(done) { seen.push(here()); setTimeout(done, 1); } }));
      seen.push(here());
      class Own extends Promise {}
      await Own.resolve(1).then(() => seen.push(here())).finally(() => seen.push(here()));
    });
    equal("a thenable's then", seen, ["t", "t", "t", "t", "t", "t"]);
  },
  async timers(equal) {
    const seen = await storage.run("time", () => new Promise((resolve) => {
      const all = [];
      let n = 0;
      queueMicrotask(() => all.push(["micro", here()]));
      setTimeout(() => all.push(["timeout", here()]), 1);
      setImmediate(() => all.push(["immediate", here()]));
      process.nextTick(() => all.push(["tick", here()]));
      const id = setInterval(() => {
        all.push(["interval", here()]);
        if (++n < 2) return;
        clearInterval(id);
        later(1).then(() => all.push(["promises", here()])).then(() => resolve(all));
      }, 5);
    }));
    equal("count", seen.length, 7);
    equal("stores", seen.filter(([, store]) => store !== "time"), []);
  },
  async apart(equal) {
    const work = async (name, ms) => storage.run(name, async () => {
      const all = [];
      for (let i = 0; i < 5; i++) {
        await wait(ms);
        all.push(here() === name);
        queueMicrotask(() => all.push(here() === name));
        await null;
      }
      return all.every(Boolean) && all.length === 10;
    });
    equal("in turns", await Promise.all([work("a", 1), work("b", 1), work("c", 2), work("d", 0)]), [true, true, true, true]);
  },
  async nested(equal) {
    const other = new AsyncLocalStorage({ defaultValue: "default", name: "other" });
    equal("default", [other.getStore(), other.name], ["default", "other"]);
    const seen = await storage.run(1, () => other.run(2, async () => {
      const all = [[here(), other.getStore()]];
      await storage.run(3, async () => { await wait(1); all.push([here(), other.getStore()]); });
      all.push([here(), other.getStore()]);
      storage.exit(() => all.push([here(), other.getStore()]));
      await null;
      other.disable();
      all.push([here(), other.getStore()]);
      return all;
    }));
    equal("stores", seen, [[1, 2], [3, 2], [1, 2], [undefined, 2], [1, "default"]]);
    equal("what it throws ends it", [thrown(() => storage.run(1, () => { throw new RangeError(); })), here()], ["RangeError", undefined]);
  },
  async entered(equal) {
    const seen = [];
    const first = (async () => { await null; storage.enterWith("in"); seen.push(here()); await wait(1); seen.push(here()); })();
    const second = (async () => { await null; seen.push(here()); await wait(1); seen.push(here()); })();
    await Promise.all([first, second]);
    equal("one job's", seen, ["in", undefined, "in", undefined]);
    equal("none here", here(), undefined);
  },
  async bound(equal) {
    const [bound, snapshot, resource] = storage.run("b", () => [AsyncLocalStorage.bind((x) => [x, here()]), AsyncLocalStorage.snapshot(), new AsyncResource("mine")]);
    equal("bind", bound(1), [1, "b"]);
    equal("snapshot", snapshot((x) => [x, here()], 2), [2, "b"]);
    equal("resource", [resource.runInAsyncScope((x) => [x, here()], null, 3), resource.asyncId() > 1], [[3, "b"], true]);
    equal("resource.bind", resource.bind(function () { return [this?.me, here()]; }, { me: 4 })(), [4, "b"]);
    equal("hooks are refused", thrown(() => createHook({})), "Error");
  },
  async streams(equal) {
    const seen = [];
    await storage.run("s", async () => {
      const through = new TransformStream({ transform(chunk, c) { seen.push(here()); c.enqueue(chunk); } });
      for await (const _ of streamOf("a", "b").pipeThrough(through)) seen.push(here());
      const pulled = new ReadableStream({ async pull(c) { await wait(1); seen.push(here()); c.close(); } });
      await new Response(pulled).text();
      await new Response("x").text();
      seen.push(here());
    });
    equal("stores", [seen.length, seen.filter((store) => store !== "s")], [6, []]);
  },
  async events(equal) {
    const emitter = new EventEmitter(), target = new EventTarget(), seen = [];
    storage.run("listener", () => {
      emitter.on("x", () => seen.push(here()));
      target.addEventListener("x", () => seen.push(here()));
    });
    storage.run("emitter", () => {
      emitter.emit("x");
      target.dispatchEvent(new Event("x"));
    });
    equal("who emits", seen, ["emitter", "emitter"]);
  },
  async generators(equal) {
    async function* count() { for (let i = 0; i < 2; i++) { await wait(1); yield here(); } }
    const seen = [];
    await storage.run("g", async () => { for await (const store of count()) seen.push(store, here()); });
    equal("stores", seen, ["g", "g", "g", "g"]);
  },
  async many(equal) {
    // What is bound goes with its promise: 400 MB of stores do not stay in an instance of 128.
    for (let i = 0; i < 4000; i++) await storage.run(new Uint8Array(100_000), async () => { await null; });
    equal("none after", here(), undefined);
  },
});
