// What the engine says of itself: memory of the instance, and texts of functions.
import { service, thrown } from "./check.js";

const SIZE = 8 << 20;

export default service({
  memory(equal) {
    const before = Wapo.memoryStats();
    let held = new Uint8Array(SIZE);
    const during = Wapo.memoryStats();
    held = null;
    const after = Wapo.memoryStats(), later = Wapo.memoryStats();
    equal("members", Object.keys(before), ["current", "spike", "peak"]);
    equal("what is held counts", during.current - before.current >= SIZE, true);
    equal("what is dropped does not", during.current - after.current >= SIZE, true);
    equal("the spike is the most since the last call", [after.spike >= during.current, later.spike < SIZE], [true, true]);
    equal("the peak stays", later.peak >= during.current, true);
    let big;
    equal("what was not given does not count", [thrown(() => { big = new ArrayBuffer(2 ** 32 - 1); }), Wapo.memoryStats().current < SIZE, big], ["RangeError", true, undefined]);
  },
  texts(equal) {
    const mine = function (a) { return a + 1; /* kept */ };
    equal("a function of the program", `${mine}`, "function (a) { return a + 1; /* kept */ }");
    equal("of the platform", [fetch, Request, Headers.prototype.get].map((f) => /^(function|class) ?\w*\(\) \{\s*\[native code\]\s*\}$/.test(`${f}`)), [true, true, true]);
  },
});
