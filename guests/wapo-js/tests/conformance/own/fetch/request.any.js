// Fetch Living Standard, 5.4 (Request class), written from the text of the standard. There is no document, so that addresses are
// absolute ones; what then differs is in docs/javascript.md.
const URL_ = "https://a.test/p?q#f";
const stream = () => new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode("hi")); c.close(); } });

test(() => {
  const r = new Request(URL_);
  const expected = { method: "GET", url: URL_, destination: "", referrer: "about:client", referrerPolicy: "", mode: "cors", credentials: "same-origin",
    cache: "default", redirect: "follow", integrity: "", keepalive: false, isReloadNavigation: false, isHistoryNavigation: false, duplex: "half", bodyUsed: false, body: null };
  for (const [name, value] of Object.entries(expected)) assert_equals(r[name], value, name);
  assert_true(r.signal instanceof AbortSignal);
  assert_false(r.signal.aborted);
  assert_equals(r.signal, r.signal);
  assert_equals(r.headers, r.headers);
}, "what a plain request is");

for (const [given, url] of [["HTTPS://A.test:443/a/../b c", "https://a.test/b%20c"], ["https://a.test", "https://a.test/"], [new URL("https://b.test/x"), "https://b.test/x"], [{ toString: () => "https://c.test/" }, "https://c.test/"]]) {
  test(() => assert_equals(new Request(given).url, url), `the address ${given}`);
}
for (const given of ["", "//", "https://", "https://u:p@a.test/", "https://u@a.test/", undefined]) {
  test(() => assert_throws_js(TypeError, () => new Request(given)), `the address ${given} is refused`);
}
test(() => assert_throws_js(TypeError, () => new Request()), "no address");

for (const [given, method] of [["get", "GET"], ["Post", "POST"], ["pUt", "PUT"], ["delete", "DELETE"], ["options", "OPTIONS"], ["head", "HEAD"], ["patch", "patch"], ["PATCH", "PATCH"], ["x-y", "x-y"], ["Chicken", "Chicken"]]) {
  test(() => assert_equals(new Request(URL_, { method: given }).method, method), `the method ${given}`);
}
for (const method of ["connect", "TRACE", "Track", "", "a b", "a\n", "ä", "GET "]) {
  test(() => {
    assert_throws_js(TypeError, () => new Request(URL_, { method }));
  }, `the method ${JSON.stringify(method)} is refused`);
}

for (const [member, good, bad] of [
  ["mode", ["same-origin", "no-cors", "cors"], ["navigate", "x", "", "CORS"]],
  ["credentials", ["omit", "same-origin", "include"], ["x", ""]],
  ["cache", ["default", "no-store", "reload", "no-cache", "force-cache"], ["only-if-cached", "x"]],
  ["redirect", ["follow", "error", "manual"], ["x"]],
  ["referrerPolicy", ["", "no-referrer", "origin", "unsafe-url", "strict-origin-when-cross-origin"], ["x"]],
  ["integrity", ["", "sha256-x"], []],
  ["keepalive", [true, false], []],
]) {
  test(() => {
    for (const value of good) {
      const r = new Request(URL_, { [member]: value });
      assert_equals(r[member], value);
      assert_equals(new Request(r)[member], value, "copied");
      assert_equals(r.clone()[member], value, "cloned");
    }
    for (const value of bad) assert_throws_js(TypeError, () => new Request(URL_, { [member]: value }), value);
  }, `the member ${member}`);
}
test(() => {
  assert_equals(new Request(URL_, { cache: "only-if-cached", mode: "same-origin" }).cache, "only-if-cached");
  assert_equals(new Request(URL_, { window: null }).method, "GET");
  assert_throws_js(TypeError, () => new Request(URL_, { window: {} }));
  assert_throws_js(TypeError, () => new Request(URL_, { priority: "x" }));
  assert_equals(new Request(URL_, { priority: "high" }).method, "GET");
  assert_throws_js(TypeError, () => new Request(URL_, { mode: "no-cors", method: "PUT" }));
  assert_throws_js(TypeError, () => new Request(URL_, { signal: {} }));
  assert_throws_js(TypeError, () => new Request(URL_, { signal: 1 }));
  assert_false(new Request(URL_, { signal: null }).signal.aborted);
  assert_throws_js(TypeError, () => new Request(URL_, 1));
  assert_equals(new Request(URL_, null).method, "GET");
}, "members that go together, and others that are checked");

for (const method of ["GET", "HEAD"]) {
  test(() => {
    assert_throws_js(TypeError, () => new Request(URL_, { method, body: "x" }));
    assert_throws_js(TypeError, () => new Request(URL_, { method, body: "" }));
    assert_equals(new Request(URL_, { method, body: null }).body, null);
    assert_equals(new Request(URL_, { method, body: undefined }).body, null);
  }, `${method} has no body`);
}

test(() => {
  assert_throws_js(TypeError, () => new Request(URL_, { method: "POST", body: stream() }));
  assert_throws_js(TypeError, () => new Request(URL_, { method: "POST", body: stream(), duplex: "full" }));
  assert_true(new Request(URL_, { method: "POST", body: stream(), duplex: "half" }).body instanceof ReadableStream);
  assert_throws_js(TypeError, () => new Request(URL_, { method: "POST", body: stream(), duplex: "half", keepalive: true }));
  const locked = stream();
  locked.getReader();
  assert_throws_js(TypeError, () => new Request(URL_, { method: "POST", body: locked, duplex: "half" }));
}, "streams as bodies");

promise_test(async () => {
  const r = new Request(URL_, { method: "POST", body: "hi", headers: { a: "b" } });
  const copy = new Request(r);
  assert_true(r.bodyUsed);
  assert_false(copy.bodyUsed);
  assert_equals(copy.headers.get("a"), "b");
  assert_not_equals(copy.headers, r.headers);
  assert_throws_js(TypeError, () => new Request(r));
  assert_equals(await copy.text(), "hi");
  assert_equals(new Request(r, { body: "new" }).method, "POST");
}, "a request over another takes its body");

promise_test(async () => {
  const r = new Request(URL_, { method: "POST", body: "hi" });
  const copy = r.clone();
  assert_equals(await r.text(), "hi");
  assert_equals(await copy.text(), "hi");
  assert_throws_js(TypeError, () => r.clone());
  const s = new Request(URL_, { method: "POST", body: stream(), duplex: "half" }), t = s.clone();
  assert_array_equals(await Promise.all([s.text(), t.text()]), ["hi", "hi"]);
}, "clones");

promise_test(async () => {
  const c = new AbortController(), r = new Request(URL_, { signal: c.signal }), copy = r.clone(), over = new Request(r);
  assert_not_equals(r.signal, c.signal);
  c.abort("why");
  for (const one of [r, copy, over]) {
    assert_true(one.signal.aborted);
    assert_equals(one.signal.reason, "why");
  }
  const gone = new Request(URL_, { signal: AbortSignal.abort(1) });
  assert_equals(gone.signal.reason, 1);
}, "signals follow");

test(() => {
  assert_equals(new Request(URL_, { method: "POST", body: "x" }).headers.get("content-type"), "text/plain;charset=UTF-8");
  assert_equals(new Request(URL_, { method: "POST", body: "x", headers: { "Content-Type": "a/b" } }).headers.get("content-type"), "a/b");
  assert_equals(new Request(URL_, { method: "POST", body: new Blob(["x"], { type: "c/d" }) }).headers.get("content-type"), "c/d");
  assert_equals(new Request(URL_, { method: "POST", body: new Blob(["x"]) }).headers.get("content-type"), null);
  assert_equals(new Request(URL_, { method: "POST", body: new Uint8Array(1) }).headers.get("content-type"), null);
  assert_equals(new Request(URL_, { method: "POST", body: new URLSearchParams("a=b") }).headers.get("content-type"), "application/x-www-form-urlencoded;charset=UTF-8");
  assert_true(/^multipart\/form-data; boundary=.+/.test(new Request(URL_, { method: "POST", body: new FormData() }).headers.get("content-type")));
}, "types of bodies");

test(() => {
  for (const name of ["method", "url", "headers", "destination", "referrer", "referrerPolicy", "mode", "credentials", "cache", "redirect", "integrity", "keepalive", "signal", "duplex", "body", "bodyUsed"]) {
    const d = Object.getOwnPropertyDescriptor(Request.prototype, name);
    assert_true(d.enumerable && d.configurable, name);
    assert_equals(d.set, undefined, name);
    assert_throws_js(TypeError, () => d.get.call({}), name);
  }
  assert_equals(Request.length, 1);
  assert_equals(String(new Request(URL_)), "[object Request]");
}, "shape of the class");
