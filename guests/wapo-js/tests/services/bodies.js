// Bodies beyond the common ground: streams, copies, moves, and forms that are almost right.
// Fetch 5.2 to 5.5, RFC 7578.
import { rejected, service, streamOf, thrown } from "./check.js";

const parse = (body, boundary = "x") => new Response(body, { headers: { "content-type": `multipart/form-data; boundary=${boundary}` } }).formData();
const part = (head, content) => `--x\r\n${head}\r\n\r\n${content}\r\n--x--`;

export default service({
  async streams(equal) {
    equal("text", await new Response(streamOf("a", "b")).text(), "ab");
    equal("not bytes", await rejected(new Response(new ReadableStream({ start(c) { c.enqueue("s"); c.close(); } })).text()), "TypeError");
    equal("its error", await rejected(new Response(new ReadableStream({ start(c) { c.error(new RangeError("x")); } })).text()), "RangeError");
    equal("locked", thrown(() => { const s = streamOf("a"); s.getReader(); new Response(s); }), "TypeError");
    equal("needs duplex", thrown(() => new Request("http://h.example/", { method: "POST", body: streamOf("a") })), "TypeError");
    const reader = new Response("xyz").body.getReader({ mode: "byob" });
    const first = await reader.read(new Uint8Array(2)), second = await reader.read(new Uint8Array(2)), end = await reader.read(new Uint8Array(2));
    equal("byob", [[...first.value], [...second.value], end.done], [[120, 121], [122], true]);
    let n = 0;
    const counting = new ReadableStream({ type: "bytes", pull(c) { c.enqueue(new Uint8Array([n++])); } }).getReader({ mode: "byob" });
    equal("byob with a minimum", (await counting.read(new Uint8Array(5), { min: 3 })).value.length >= 3, true);
  },
  async copies(equal) {
    const one = new Request("http://h.example/", { method: "POST", body: streamOf("a", "b"), duplex: "half" }), two = new Request(one);
    equal("moved", [one.bodyUsed, two.bodyUsed, await two.text(), await rejected(one.text())], [true, false, "ab", "TypeError"]);
    const a = new Response(streamOf("a", "b")), b = a.clone();
    equal("clone of a stream", [await a.text(), await b.text()], ["ab", "ab"]);
    const c = new Response(new Uint8Array([1, 2])), d = c.clone(), bytes = await c.bytes();
    bytes[0] = 9;
    equal("clone of bytes", [...await d.bytes()], [1, 2]);
    const blob = new Blob(["abc"]), own = await new Response(blob).bytes();
    own[0] = 0;
    equal("a blob stays", await blob.text(), "abc");
    const r = new Response("abc");
    equal("looking twice", [r.body === r.body, await r.text(), r.bodyUsed, r.body.locked], [true, "abc", true, true]);
  },
  requests(equal) {
    const of = (init) => thrown(() => new Request("http://h.example/", init));
    equal("GET has none", [of({ body: "x" }), of({ body: null })], ["TypeError", "none"]);
    equal("nor has one that becomes GET", thrown(() => new Request(new Request("http://h.example/", { method: "POST", body: "x" }), { method: "GET" })), "TypeError");
    equal("methods", ["get", "patch", "PuT", "foo"].map((method) => new Request("http://h.example/", { method }).method), ["GET", "patch", "PUT", "foo"]);
    equal("refused methods", ["CONNECT", "trace", "a b", ""].map((method) => of({ method })), ["TypeError", "TypeError", "TypeError", "TypeError"]);
    equal("credentials", ["http://a:b@h/", "http://a@h/", "http://h:8/a@b"].map((u) => thrown(() => new Request(u))), ["TypeError", "TypeError", "none"]);
    equal("refused options", [{ referrer: "http://:no" }, { mode: "navigate" }, { mode: "no-cors", method: "PUT" }, { cache: "only-if-cached" },
      { priority: "soon" }, { duplex: "full" }, { redirect: "maybe" }, { window: {} }].map(of), Array(8).fill("TypeError"));
    const old = new Request("http://h.example/", { method: "POST", body: "x", headers: { a: "b" } }), like = new Request("http://i.example/", old);
    equal("a request as options", [like.method, like.headers.get("a"), like.url], ["POST", "b", "http://i.example/"]);
  },
  async forms(equal) {
    equal("no part", [...await parse("--x--\r\n")], []);
    equal("text before", [...await parse(`before\r\n${part("Content-Disposition: form-data; name=a", "v")}`)], [["a", "v"]]);
    equal("a semicolon in a name", [...await parse(part("Content-Disposition: form-data; name=\"a;filename=b\"", "v"))], [["a;filename=b", "v"]]);
    const file = (await parse(part("Content-Disposition: form-data; name=\"a\"; filename=\"\"\r\nContent-Type: a/b", ""))).get("a");
    equal("an empty file", [file instanceof File, file.name, file.size, file.type], [true, "", 0, "a/b"]);
    for (const [name, body] of Object.entries({
      "no end": "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n", "no name": part("Content-Disposition: form-data", "v"),
      "no header": "--x\r\n\r\nv\r\n--x--", "not form-data": part("Content-Disposition: attachment; name=a", "v"), "no colon": part("Content", "v"),
    })) equal(name, await rejected(parse(body)), "TypeError");
    const form = await new Response("a=1&b=%20+x", { headers: { "content-type": "application/x-www-form-urlencoded" } }).formData();
    equal("urlencoded", [...form], [["a", "1"], ["b", "  x"]]);
    const data = new FormData();
    data.set("a", "1");
    data.append("a", "2");
    data.set("a", "3");
    data.append("f", new Blob(["x"]), "n");
    equal("set", [data.getAll("a"), data.get("f").name], [["3"], "n"]);
    equal("a file name for text", thrown(() => data.append("a", "b", "c")), "TypeError");
  },
});
