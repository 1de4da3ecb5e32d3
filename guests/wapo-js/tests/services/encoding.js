// Text, addresses, compression and performance beyond the common ground.
// Encoding 7, URL 6, Compression 5 and 6, User Timing 3.
import { rejected, service, thrown } from "./check.js";

const bytes = (stream) => new Response(stream).bytes();

export default service({
  async text(equal) {
    const fatal = new TextDecoderStream("utf-8", { fatal: true }), writer = fatal.writable.getWriter();
    writer.write(new Uint8Array([0xc3])).catch(() => {});
    writer.close().catch(() => {});
    equal("an end in the middle", await rejected(fatal.readable.getReader().read()), "TypeError");
    const encoder = new TextEncoderStream(), w = encoder.writable.getWriter();
    for (const s of ["\ud83d", "\ude00", "", "\ud800"]) w.write(s);
    w.close();
    equal("surrogates across chunks", [...await bytes(encoder.readable)], [0xf0, 0x9f, 0x98, 0x80, 0xef, 0xbf, 0xbd]);
    equal("encodeInto", thrown(() => new TextEncoder().encodeInto("a", new Uint16Array(2))), "TypeError");
    const d = new TextDecoder("shift_jis");
    equal("another encoding", [d.encoding, d.decode(new Uint8Array([0x93]), { stream: true }) + d.decode(new Uint8Array([0xfa]))], ["shift_jis", "\u65e5"]);
    equal("no replacement", thrown(() => new TextDecoder("iso-2022-kr")), "RangeError");
  },
  addresses(equal) {
    const u = new URL("http://h.example/?a=1"), p = u.searchParams;
    u.href = "http://h.example/?b=2";
    const read = [...p];
    p.set("c", "3");
    equal("the tie", [read, u.search, (u.search = "", [...p].length), u.searchParams === p], [[["b", "2"]], "?b=2&c=3", 0, true]);
    equal("href", [thrown(() => { u.href = "x"; }), u.href], ["TypeError", "http://h.example/"]);
    const v = new URL("http://u:p@h.example:81/p?q#f");
    v.port = "";
    v.password = "";
    v.hash = "";
    v.protocol = "https";
    v.host = "[";
    equal("setters", v.href, "https://u@h.example/p?q");
    equal("origins", ["file:///x", "https://h.example:443/", "blob:file:///x", "mailto:x"].map((x) => new URL(x).origin), ["null", "https://h.example", "null", "null"]);
    const web = new URL("web+demo:/.//not-a-host/");
    equal("a path that looks like a host", [web.pathname, web.host, web.username, web.password], ["//not-a-host/", "", "", ""]);
    equal("empty query and fragment", [new URL("http://h.example/?#").search, new URL("http://h.example/?#").hash, new URL("http://h.example/?#").href], ["", "", "http://h.example/?#"]);
  },
  async compression(equal) {
    for (const format of ["gzip", "deflate", "deflate-raw"]) {
      const packed = new Response("abc ".repeat(100_000)).body.pipeThrough(new CompressionStream(format));
      equal(format, (await new Response(packed.pipeThrough(new DecompressionStream(format))).text()).length, 400_000);
    }
    const bomb = await bytes(new Response(new Uint8Array(4_000_000)).body.pipeThrough(new CompressionStream("gzip")));
    const reader = new Response(bomb).body.pipeThrough(new DecompressionStream("gzip")).getReader();
    equal("output comes in pieces", (await reader.read()).value.length <= 65_536, true);
    await reader.cancel();
  },
  performance(equal) {
    performance.mark("a", { detail: { k: 1 } });
    const m = performance.measure("m", "a");
    equal("measure", [m.entryType, m.duration >= 0, performance.getEntriesByName("m").length, performance.getEntriesByType("mark")[0].detail.k], ["measure", true, 1, 1]);
    equal("no such mark", thrown(() => performance.measure("x", "none")), "SyntaxError");
    performance.clearMarks();
    performance.clearMeasures();
    equal("cleared", performance.getEntries().length, 0);
  },
});
