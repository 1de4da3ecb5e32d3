// structuredClone and message ports beyond the common ground.
// HTML 2.7 and 9.4.
import { service, thrown, wait } from "./check.js";

export default service({
  values(equal) {
    const u = new Uint8Array([1, 2, 3]), moved = structuredClone(u, { transfer: [u.buffer] });
    equal("a view of a moved buffer", [u.length, [...moved]], [0, [1, 2, 3]]);
    const kept = new Uint8Array([1]);
    equal("a failure moves nothing", [thrown(() => structuredClone({ kept, f() {} }, { transfer: [kept.buffer] })), kept.length], ["DataCloneError", 1]);
    const f = structuredClone(new File(["a"], "n", { type: "t/x", lastModified: 5 }));
    equal("file", [f instanceof File, f.name, f.type, f.lastModified], [true, "n", "t/x", 5]);
    const e = structuredClone(new DOMException("m", "AbortError"));
    equal("DOMException", [e instanceof DOMException, e.name, e.code, e.message], [true, "AbortError", 20, "m"]);
    equal("no prototype", Object.getPrototypeOf(structuredClone(Object.create(null))) === Object.prototype, true);
    equal("platform objects", [new Headers(), new Event("x"), new URL("http://h.example/"), new AbortController()].map((x) => thrown(() => structuredClone(x))), Array(4).fill("DataCloneError"));
    equal("a getter that throws", thrown(() => structuredClone({ get a() { throw new RangeError("x"); } })), "RangeError");
    let called = false;
    Object.defineProperty(Object.prototype, "trap", { set() { called = true; }, configurable: true });
    const copy = structuredClone(JSON.parse("{\"trap\":1}"));
    delete Object.prototype.trap;
    equal("no setter runs", [called, copy.trap], [false, 1]);
  },
  async streams(equal) {
    const rs = new ReadableStream({ start(c) { c.enqueue(1); c.close(); } }), { there } = structuredClone({ there: rs }, { transfer: [rs] });
    const got = [];
    for await (const v of there) got.push(v);
    equal("moved", [got, rs.locked], [[1], true]);
    equal("a locked one stays", thrown(() => structuredClone(rs, { transfer: [rs] })), "DataCloneError");
  },
  async ports(equal) {
    const one = new MessageChannel(), two = new MessageChannel(), got = [];
    one.port2.onmessage = (e) => got.push(e);
    one.port1.postMessage({ port: two.port1 }, [two.port1]);
    one.port1.postMessage("second");
    equal("not at once", got.length, 0);
    await wait(30);
    equal("in order", [got.length, got[0].data.port instanceof MessagePort, got[0].ports.length, got[1].data], [2, true, 1, "second"]);
    const answer = new Promise((resolve) => { two.port2.onmessage = (e) => resolve(e.data); });
    got[0].data.port.postMessage("through");
    equal("a moved port works", await answer, "through");
    equal("a port is not copied", thrown(() => one.port1.postMessage(two.port2)), "DataCloneError");
    equal("nor sent through itself", thrown(() => one.port1.postMessage(1, [one.port1])), "DataCloneError");
    const closed = new Promise((resolve) => { one.port2.onclose = () => resolve("closed"); });
    one.port1.close();
    equal("close", await closed, "closed");
  },
});
