// Fetch Living Standard, 5.1 (Headers class) and 2.2.2 (headers), written from the text of the standard.
const pairs = (headers) => [...headers].map(([name, value]) => `${name}: ${value}`);

test(() => {
  assert_array_equals(pairs(new Headers()), []);
  assert_array_equals(pairs(new Headers(undefined)), []);
  assert_throws_js(TypeError, () => new Headers(null));
  assert_throws_js(TypeError, () => new Headers(1));
  assert_throws_js(TypeError, () => new Headers("a"));
  assert_throws_js(TypeError, () => Headers());
}, "what headers are made of: nothing, and what they are not made of");

test(() => {
  assert_array_equals(pairs(new Headers({ b: "2", A: 1, c: null })), ["a: 1", "b: 2", "c: null"]);
  assert_array_equals(pairs(new Headers([["b", "2"], ["a", "1"], ["B", "3"]])), ["a: 1", "b: 2, 3"]);
  assert_array_equals(pairs(new Headers(new Map([["x", "y"]]))), ["x: y"]);
  assert_array_equals(pairs(new Headers(new Headers({ x: "y" }))), ["x: y"]);
  assert_array_equals(pairs(new Headers([new Set(["x", "y"])])), ["x: y"]);
}, "records, sequences, iterables and headers");

for (const wrong of [[["a"]], [["a", "b", "c"]], [[]], ["ab"], [1], [null], { a: Symbol("x") }, { [Symbol("a")]: "b" }]) {
  test(() => assert_throws_js(TypeError, () => new Headers(wrong)), `refused: ${wrong.length === undefined ? Reflect.ownKeys(wrong).map(String) : JSON.stringify(wrong)}`);
}

for (const name of ["", " ", "a b", "a:", "ä", "a\n", "(", ")", "<", ">", "@", ",", ";", "\\", "\"", "/", "[", "]", "?", "=", "{", "}", "\x7f", "\u0100", "\0"]) {
  test(() => {
    const h = new Headers();
    assert_throws_js(TypeError, () => h.append(name, "x"));
    assert_throws_js(TypeError, () => h.set(name, "x"));
    assert_throws_js(TypeError, () => h.get(name));
    assert_throws_js(TypeError, () => h.has(name));
    assert_throws_js(TypeError, () => h.delete(name));
    assert_throws_js(TypeError, () => new Headers([[name, "x"]]));
    assert_throws_js(TypeError, () => new Headers({ [name]: "x" }));
  }, `the name ${JSON.stringify(name)} is refused`);
}

test(() => {
  const h = new Headers();
  for (const name of "!#$%&'*+-.^_`|~019azAZ") h.append(name, "x");
  for (const name of "!#$%&'*+-.^_`|~019azAZ") assert_true(h.has(name));
}, "every character of a token is a name");

for (const value of ["a\0b", "a\rb", "a\nb", "a\r\nb", "\u0100", "x\u2028", "\ud800"]) {
  test(() => {
    const h = new Headers();
    assert_throws_js(TypeError, () => h.append("a", value));
    assert_throws_js(TypeError, () => h.set("a", value));
    assert_throws_js(TypeError, () => new Headers({ a: value }));
    assert_array_equals(pairs(h), []);
  }, `the value ${JSON.stringify(value)} is refused`);
}

for (const [given, stored] of [["", ""], [" ", ""], ["\t a \r\n", "a"], ["\n\n", ""], ["a\tb", "a\tb"], ["\x01\x1f\x7f", "\x01\x1f\x7f"], ["\xff\x80", "\xff\x80"], ["\x0ba\x0c", "\x0ba\x0c"]]) {
  test(() => {
    const h = new Headers({ a: given });
    assert_equals(h.get("a"), stored);
    h.set("b", given);
    assert_equals(h.get("B"), stored);
  }, `the value ${JSON.stringify(given)} is ${JSON.stringify(stored)}`);
}

test(() => {
  const h = new Headers([["a", ""], ["a", "x"], ["A", ""]]);
  assert_equals(h.get("a"), ", x, ");
  assert_equals(h.get("b"), null);
  h.set("a", "y");
  assert_array_equals(pairs(h), ["a: y"]);
  h.delete("A");
  assert_false(h.has("a"));
  h.delete("a");
}, "get, set and delete of several values");

test(() => {
  const h = new Headers([["Set-Cookie", "b=2"], ["z", "1"], ["set-cookie", "a=1, x"], ["m", "2"]]);
  assert_equals(h.get("set-cookie"), "b=2, a=1, x");
  assert_array_equals(h.getSetCookie(), ["b=2", "a=1, x"]);
  assert_array_equals(pairs(h), ["m: 2", "set-cookie: b=2", "set-cookie: a=1, x", "z: 1"]);
  assert_array_equals([...h.keys()], ["m", "set-cookie", "set-cookie", "z"]);
  h.set("Set-Cookie", "c=3");
  assert_array_equals(h.getSetCookie(), ["c=3"]);
  assert_array_equals(new Headers().getSetCookie(), []);
}, "cookies are never combined");

test(() => {
  const h = new Headers({ b: "1", d: "2" }), seen = [];
  for (const [name] of h) {
    seen.push(name);
    if (name === "b") h.append("c", "x");
    if (name === "c") h.append("a", "y");
  }
  assert_array_equals(seen, ["b", "c", "c", "d"]);
}, "iteration sees changes, by place");

test(() => {
  const h = new Headers({ a: "1", b: "2" }), seen = [], self = {};
  assert_equals(h.forEach(function (value, name, all) { seen.push([this === self, value, name, all === h].join()); }, self), undefined);
  assert_array_equals(seen, ["true,1,a,true", "true,2,b,true"]);
  assert_throws_js(TypeError, () => h.forEach());
  assert_throws_js(TypeError, () => h.forEach(1));
  assert_throws_js(TypeError, () => Headers.prototype.forEach.call({}, () => {}));
}, "forEach");

test(() => {
  const proto = Object.getPrototypeOf(new Headers().entries());
  assert_equals(Object.getPrototypeOf(proto), Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())));
  assert_equals(proto[Symbol.toStringTag], "Headers Iterator");
  assert_throws_js(TypeError, () => proto.next.call([][Symbol.iterator]()));
  assert_equals(Headers.prototype[Symbol.iterator], Headers.prototype.entries);
  const it = new Headers({ a: "1" })[Symbol.iterator]();
  assert_array_equals(it.next().value, ["a", "1"]);
  assert_true(it.next().done);
  assert_true(it.next().done);
}, "iterators");

test(() => {
  for (const [name, length] of [["append", 2], ["delete", 1], ["get", 1], ["getSetCookie", 0], ["has", 1], ["set", 2], ["forEach", 1], ["keys", 0], ["values", 0], ["entries", 0]]) {
    const d = Object.getOwnPropertyDescriptor(Headers.prototype, name);
    assert_true(d.enumerable && d.writable && d.configurable, name);
    assert_equals(d.value.length, length, name);
    assert_equals(d.value.name, name);
    assert_throws_js(TypeError, () => d.value.call({}, "a", "b"), name);
  }
  assert_equals(Headers.length, 0);
  assert_equals(String(new Headers()), "[object Headers]");
  for (const f of [(h) => h.append("a"), (h) => h.append(), (h) => h.set("a"), (h) => h.get(), (h) => h.has(), (h) => h.delete()]) {
    assert_throws_js(TypeError, () => f(new Headers()));
  }
}, "shape of the class");

test(() => {
  const log = [];
  const proxy = new Proxy({ b: "2", a: "1" }, {
    ownKeys: (t) => (log.push("ownKeys"), Reflect.ownKeys(t)),
    getOwnPropertyDescriptor: (t, k) => (log.push(`describe ${String(k)}`), Reflect.getOwnPropertyDescriptor(t, k)),
    get: (t, k) => (log.push(`get ${String(k)}`), Reflect.get(t, k)),
  });
  new Headers(proxy);
  assert_array_equals(log, ["get Symbol(Symbol.iterator)", "ownKeys", "describe b", "get b", "describe a", "get a"]);
}, "order in which a record is read");

test(() => {
  assert_throws_js(TypeError, () => Response.error().headers.append("a", "b"));
  assert_throws_js(TypeError, () => Response.redirect("https://a.test/").headers.set("a", "b"));
  assert_throws_js(TypeError, () => Response.redirect("https://a.test/").headers.delete("location"));
  const own = new Response("", { headers: { a: "1" } });
  own.headers.append("a", "2");
  assert_equals(own.headers.get("a"), "1, 2");
}, "immutable headers");
