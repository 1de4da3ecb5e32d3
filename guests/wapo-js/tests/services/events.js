// Events beyond the common ground: handlers of the global, order of handler attributes, what a listener may do while it runs.
// DOM 2.7 to 3.2, HTML 8.1.4 and 8.1.8.
import { service, thrown, wait } from "./check.js";

export default service({
  reporting(equal) {
    const target = new EventTarget(), told = [];
    target.addEventListener("x", () => { throw "mine"; });
    globalThis.onerror = (message, file, line, column, error) => { told.push(typeof message, error); return true; };
    target.dispatchEvent(new Event("x"));
    reportError(null);
    globalThis.onerror = null;
    equal("onerror has five arguments", told, ["string", "mine", "string", null]);
    const events = [], listener = (e) => { events.push(e.error, e instanceof ErrorEvent, e.cancelable); e.preventDefault(); };
    addEventListener("error", listener);
    reportError(5);
    removeEventListener("error", listener);
    equal("error event", events, [5, true, true]);
    equal("no argument", thrown(() => reportError()), "TypeError");
  },
  global(equal) {
    let seen;
    addEventListener("mine", function (e) { seen = [this === globalThis, e.target === globalThis, e.currentTarget === globalThis]; }, { once: true });
    dispatchEvent(new Event("mine"));
    equal("target", seen, [true, true, true]);
  },
  handlers(equal) {
    const order = [], c = new AbortController();
    c.signal.addEventListener("abort", () => order.push(1));
    c.signal.onabort = () => order.push(2);
    c.signal.addEventListener("abort", () => order.push(3));
    c.signal.onabort = () => order.push("2 again");
    c.abort();
    equal("a handler keeps its place", order, [1, "2 again", 3]);
    const t = new AbortController().signal;
    t.onabort = 5;
    equal("what is no object is null", t.onabort, null);
  },
  listeners(equal) {
    const t = new EventTarget(), log = [];
    const second = () => log.push("second");
    t.addEventListener("a", () => { log.push("first"); t.removeEventListener("a", second); });
    t.addEventListener("a", second);
    t.dispatchEvent(new Event("a"));
    equal("removed while running", log, ["first"]);
    let reads = 0;
    const object = { get handleEvent() { reads++; return () => {}; } };
    t.addEventListener("b", object);
    t.dispatchEvent(new Event("b"));
    t.dispatchEvent(new Event("b"));
    equal("handleEvent is read each time", reads, 2);
    equal("a signal must be one", thrown(() => t.addEventListener("x", () => {}, { signal: null })), "TypeError");
    const e = new Event("c", { cancelable: true });
    e.returnValue = false;
    e.returnValue = true;
    equal("returnValue", [e.returnValue, e.defaultPrevented], [false, true]);
    equal("detail", [new CustomEvent("x").detail, new CustomEvent("x", { detail: 0 }).detail], [null, 0]);
    equal("options", [thrown(() => new Event("x", 5)), new Event("x", null).bubbles], ["TypeError", false]);
  },
  async signals(equal) {
    const fired = new Promise((resolve) => {
      AbortSignal.any([AbortSignal.timeout(10)]).addEventListener("abort", () => resolve("fired"));
      setTimeout(() => resolve("lost"), 200);
    });
    equal("a signal that only its sources know", await fired, "fired");
    const c = new AbortController(), r = new Request("http://h.example/", { signal: c.signal }), copy = r.clone();
    c.abort("why");
    equal("requests follow", [r.signal.reason, copy.signal.reason, r.signal === c.signal], ["why", "why", false]);
  },
  async timers(equal) {
    equal("text is refused", [thrown(() => setTimeout("1")), thrown(() => setInterval(null))], ["TypeError", "TypeError"]);
    const log = [];
    setImmediate((x) => log.push(x), "immediate");
    queueMicrotask(() => log.push("microtask"));
    await wait(20);
    equal("order", log, ["microtask", "immediate"]);
    const started = performance.now();
    await new Promise((resolve) => {
      let n = 0;
      const again = () => (++n === 12 ? resolve() : setTimeout(again, 0));
      setTimeout(again, 0);
    });
    equal("timers of timers take their time", performance.now() - started > 15, true);
  },
});
