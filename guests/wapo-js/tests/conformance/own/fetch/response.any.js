// Fetch Living Standard, 5.5 (Response class) and 5.3 (Body mixin), written from the text of the standard.
const bytes = (...list) => new Uint8Array(list);

test(() => {
  const r = new Response();
  const expected = { type: "default", url: "", redirected: false, status: 200, ok: true, statusText: "", body: null, bodyUsed: false };
  for (const [name, value] of Object.entries(expected)) assert_equals(r[name], value, name);
  assert_equals([...r.headers].length, 0);
  assert_equals(r.headers, r.headers);
  assert_equals(new Response(null).body, null);
  assert_equals(new Response(undefined).body, null);
}, "what a plain response is");

for (const status of [200, 204, 299, 300, 404, 599]) {
  test(() => {
    const r = new Response(null, { status });
    assert_equals(r.status, status);
    assert_equals(r.ok, status < 300);
  }, `the status ${status}`);
}
for (const status of [0, 100, 101, 199, 600, 1000, -1, "x", null, NaN, 65536 + 99]) {
  test(() => assert_throws_js(RangeError, () => new Response(null, { status })), `the status ${status} is refused`);
}
test(() => assert_equals(new Response(null, { status: 65536 + 200 }).status, 200), "a status is an unsigned short");
for (const status of [204, 205, 304]) {
  test(() => {
    for (const body of ["", "x", new Uint8Array(0), new ReadableStream()]) assert_throws_js(TypeError, () => new Response(body, { status }));
    assert_equals(new Response(null, { status }).body, null);
  }, `the status ${status} has no body`);
}
for (const statusText of ["\n", "\r", "\0", "\x7f", "\u0100", "a\x01"]) {
  test(() => assert_throws_js(TypeError, () => new Response(null, { statusText })), `the status text ${JSON.stringify(statusText)} is refused`);
}
for (const statusText of ["", "OK", "\t x", "\xff", "ä"]) {
  test(() => assert_equals(new Response(null, { statusText }).statusText, statusText), `the status text ${JSON.stringify(statusText)}`);
}

test(() => {
  const r = Response.error();
  assert_equals(r.type, "error");
  assert_equals(r.status, 0);
  assert_false(r.ok);
  assert_equals(r.body, null);
}, "error()");

for (const status of [301, 302, 303, 307, 308]) {
  test(() => {
    const r = Response.redirect("https://a.test/ä", status);
    assert_equals(r.status, status);
    assert_equals(r.headers.get("location"), "https://a.test/%C3%A4");
    assert_equals(r.body, null);
  }, `redirect() with ${status}`);
}
test(() => {
  assert_equals(Response.redirect("https://a.test/").status, 302);
  for (const status of [200, 300, 304, 305, 306, 309, 400, 0]) assert_throws_js(RangeError, () => Response.redirect("https://a.test/", status));
  assert_throws_js(TypeError, () => Response.redirect("http://a:b"));
  assert_throws_js(TypeError, () => Response.redirect());
}, "redirect() refuses");

promise_test(async () => {
  const r = Response.json({ a: [1, "ä"] }, { status: 201, headers: { x: "y" } });
  assert_equals(r.headers.get("content-type"), "application/json");
  assert_equals(r.status, 201);
  assert_equals(r.headers.get("x"), "y");
  assert_equals(await r.text(), '{"a":[1,"ä"]}');
  assert_equals(Response.json(null, { headers: { "content-type": "a/b" } }).headers.get("content-type"), "a/b");
  assert_throws_js(TypeError, () => Response.json(undefined));
  assert_throws_js(TypeError, () => Response.json(() => {}));
  assert_throws_js(TypeError, () => Response.json(1n));
  assert_throws_js(TypeError, () => Response.json());
  const thrown = { name: "mine" };
  assert_throws_exactly(thrown, () => Response.json({ toJSON() { throw thrown; } }));
  assert_throws_js(TypeError, () => Response.json("x", { status: 204 }));
}, "json()");

for (const [what, make, text] of [
  ["a string", () => "ä", "ä"],
  ["half a surrogate", () => "\ud800x", "\ufffdx"],
  ["bytes", () => bytes(0xc3, 0xa4), "ä"],
  ["a buffer", () => bytes(0x61).buffer, "a"],
  ["a view of a part", () => new DataView(bytes(1, 0x61, 2).buffer, 1, 1), "a"],
  ["a blob", () => new Blob(["a", bytes(0x62)]), "ab"],
  ["parameters", () => new URLSearchParams({ a: "b c" }), "a=b+c"],
  ["a stream", () => new ReadableStream({ start(c) { c.enqueue(bytes(0x61)); c.enqueue(bytes(0x62)); c.close(); } }), "ab"],
  ["a number", () => 12, "12"],
  ["an object", () => ({}), "[object Object]"],
]) {
  promise_test(async () => {
    assert_equals(await new Response(make()).text(), text);
    assert_equals(new TextDecoder().decode(await new Response(make()).arrayBuffer()), text);
    assert_equals(new TextDecoder().decode(await new Response(make()).bytes()), text);
    assert_equals(await (await new Response(make()).blob()).text(), text);
    let read = "";
    for await (const piece of new Response(make()).body) read += new TextDecoder().decode(piece);
    assert_equals(read, text);
  }, `a body of ${what}`);
}

for (const read of ["arrayBuffer", "blob", "bytes", "formData", "json", "text"]) {
  promise_test(async (t) => {
    const type = { headers: { "content-type": "application/x-www-form-urlencoded" } };
    const make = () => new Response(read === "json" ? "1" : "a=b", type);
    const r = make();
    assert_false(r.bodyUsed);
    const first = r[read]();
    assert_true(r.bodyUsed);
    await first;
    await promise_rejects_js(t, TypeError, r[read]());
    await promise_rejects_js(t, TypeError, r.text());
    assert_throws_js(TypeError, () => r.clone());
    const locked = make();
    locked.body.getReader();
    assert_false(locked.bodyUsed);
    await promise_rejects_js(t, TypeError, locked[read]());
    const wrong = new Response(new ReadableStream({ start(c) { c.enqueue("text"); c.close(); } }), type);
    await promise_rejects_js(t, TypeError, wrong[read]());
    const error = { name: "mine" };
    const failing = new Response(new ReadableStream({ start(c) { c.error(error); } }), type);
    await promise_rejects_exactly(t, error, failing[read]());
    await promise_rejects_js(t, TypeError, Response.prototype[read].call({}));
  }, `${read}() reads once`);
}

promise_test(async (t) => {
  const empty = new Response(null);
  for (let i = 0; i < 2; i++) {
    assert_equals(await empty.text(), "");
    assert_equals((await empty.arrayBuffer()).byteLength, 0);
    assert_equals((await empty.blob()).size, 0);
    assert_false(empty.bodyUsed);
  }
  await promise_rejects_js(t, SyntaxError, empty.json());
  await promise_rejects_js(t, TypeError, empty.formData());
}, "a response without a body is never used up");

promise_test(async () => {
  assert_equals(await new Response("\ufeffa").text(), "a");
  assert_equals(await new Response(bytes(0xef, 0xbb, 0xbf, 0x61)).text(), "a");
  assert_equals(await new Response(bytes(0xff, 0x61)).text(), "\ufffda");
  assert_equals((await new Response(bytes(0xef, 0xbb, 0xbf, 0x31)).json()), 1);
}, "texts are UTF-8 without its mark");

promise_test(async () => {
  const r = new Response("ab"), copy = r.clone();
  assert_array_equals(await Promise.all([r.text(), copy.text()]), ["ab", "ab"]);
  const given = bytes(0x61), later = new Response(given);
  given[0] = 0x62;
  assert_equals(await later.text(), "a", "what was given is copied");
  const one = new Response("x", { status: 201, statusText: "s", headers: { a: "b" } }), two = one.clone();
  two.headers.set("a", "c");
  assert_array_equals([two.status, two.statusText, one.headers.get("a")], [201, "s", "b"]);
}, "clones");

promise_test(async (t) => {
  const r = new Response("abc");
  const reader = r.body.getReader();
  assert_false(r.bodyUsed);
  await reader.read();
  assert_true(r.bodyUsed);
  reader.releaseLock();
  await promise_rejects_js(t, TypeError, r.text());
  const cancelled = new Response("abc");
  await cancelled.body.cancel();
  assert_true(cancelled.bodyUsed);
  const byob = new Response("abc").body.getReader({ mode: "byob" });
  const { value } = await byob.read(new Uint8Array(2));
  assert_equals(new TextDecoder().decode(value), "ab");
}, "the stream of a body");

promise_test(async (t) => {
  const form = new FormData();
  form.append("a", "1\n2");
  form.append("ü\"", new File(["x"], "n\"ä.txt", { type: "t/p" }));
  form.append("a", "3");
  const back = await new Response(form).formData();
  assert_array_equals([...back.keys()], ["a", "ü\"", "a"]);
  assert_array_equals(back.getAll("a"), ["1\r\n2", "3"]);
  const file = back.get("ü\"");
  assert_array_equals([file.name, file.type, await file.text()], ["n\"ä.txt", "t/p", "x"]);
  const query = await new Response(new URLSearchParams("a=1&b=%C3%A4+x&a=")).formData();
  assert_array_equals([...query].map(String), ["a,1", "b,ä x", "a,"]);
  await promise_rejects_js(t, TypeError, new Response("x").formData());
  await promise_rejects_js(t, TypeError, new Response("x", { headers: { "content-type": "multipart/form-data" } }).formData());
  await promise_rejects_js(t, TypeError, new Response("--b\r\n", { headers: { "content-type": "multipart/form-data; boundary=b" } }).formData());
}, "forms");

test(() => {
  assert_equals(Response.length, 0);
  assert_equals(Response.json.length, 1);
  assert_equals(Response.redirect.length, 1);
  assert_equals(String(new Response()), "[object Response]");
  for (const name of ["type", "url", "redirected", "status", "ok", "statusText", "headers", "body", "bodyUsed"]) {
    const d = Object.getOwnPropertyDescriptor(Response.prototype, name);
    assert_true(d.enumerable && d.configurable && d.set === undefined, name);
    assert_throws_js(TypeError, () => d.get.call({}), name);
  }
}, "shape of the class");
