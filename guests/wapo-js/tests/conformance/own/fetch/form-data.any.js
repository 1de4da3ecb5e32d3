// XMLHttpRequest Standard, 4 (FormData), and HTML, 4.10.21.8 (multipart/form-data), written from the texts of the standards.
const list = (form) => [...form].map(([name, value]) => `${name}=${typeof value === "string" ? value : `${value.name}:${value.type}:${value.size}`}`);

test(() => {
  const f = new FormData();
  f.append("a", "1");
  f.append("b", 2);
  f.append("a", null);
  f.append("c", { toString: () => "x" });
  assert_array_equals(list(f), ["a=1", "b=2", "a=null", "c=x"]);
  assert_equals(f.get("a"), "1");
  assert_array_equals(f.getAll("a"), ["1", "null"]);
  assert_equals(f.get("x"), null);
  assert_array_equals(f.getAll("x"), []);
  f.set("a", "3");
  assert_array_equals(list(f), ["a=3", "b=2", "c=x"]);
  f.set("d", "4");
  f.delete("b");
  assert_array_equals(list(f), ["a=3", "c=x", "d=4"]);
  assert_true(f.has("d"));
  assert_false(f.has("b"));
}, "append, set, get, delete");

test(() => {
  const f = new FormData();
  f.append("\ud800", "\udc00");
  assert_array_equals(list(f), ["\ufffd=\ufffd"]);
}, "names and values are scalar values");

test(() => {
  const f = new FormData(), blob = new Blob(["ab"], { type: "t/p" }), file = new File(["c"], "n", { type: "x/y", lastModified: 5 });
  f.append("a", blob);
  f.append("b", blob, "named");
  f.append("c", file);
  f.append("d", file, "other");
  assert_array_equals(list(f), ["a=blob:t/p:2", "b=named:t/p:2", "c=n:x/y:1", "d=other:x/y:1"]);
  assert_true(f.get("a") instanceof File);
  assert_equals(f.get("c"), file);
  assert_not_equals(f.get("d"), file);
  assert_equals(f.get("d").lastModified, 5);
}, "blobs become files");

test(() => {
  const f = new FormData();
  for (const call of [() => f.append("a"), () => f.append(), () => f.set("a"), () => f.get(), () => f.has(), () => f.delete(), () => f.getAll(),
    () => f.append("a", "b", "c"), () => f.set("a", "b", "c"), () => f.append("a", {}, "c"), () => new FormData({}), () => new FormData("x"), () => FormData()]) {
    assert_throws_js(TypeError, call);
  }
  assert_array_equals(list(new FormData(undefined)), []);
}, "what is refused");

test(() => {
  const f = new FormData(), seen = [];
  f.append("a", "1");
  f.append("b", "2");
  f.forEach((value, name, all) => seen.push(`${name}${value}${all === f}`));
  assert_array_equals(seen, ["a1true", "b2true"]);
  assert_array_equals([...f.keys()], ["a", "b"]);
  assert_array_equals([...f.values()], ["1", "2"]);
  assert_equals(FormData.prototype[Symbol.iterator], FormData.prototype.entries);
  const names = [];
  for (const [name] of f) {
    names.push(name);
    if (name === "a") f.append("c", "3");
  }
  assert_array_equals(names, ["a", "b", "c"]);
}, "iteration");

async function wire(form) {
  const r = new Response(form);
  const boundary = /boundary=(.+)$/.exec(r.headers.get("content-type"))[1];
  return [await r.text(), boundary];
}

promise_test(async () => {
  const f = new FormData();
  f.append("a\r\n\"b", "1\n2\r3\r\n4");
  f.append("f", new File(["x"], "n\"\n.txt", { type: "" }));
  const [text, boundary] = await wire(f);
  assert_equals(text, [
    `--${boundary}`, 'Content-Disposition: form-data; name="a%0D%0A%22b"', "", "1\r\n2\r\n3\r\n4",
    `--${boundary}`, 'Content-Disposition: form-data; name="f"; filename="n%22%0A.txt"', "Content-Type: application/octet-stream", "", "x",
    `--${boundary}--`, "",
  ].join("\r\n"));
  assert_true(/^[0-9A-Za-z'()+_,\-./:=? ]{27,70}$/.test(boundary), boundary);
}, "how a form goes over the wire");

promise_test(async () => {
  const [, one] = await wire(new FormData()), [text, two] = await wire(new FormData());
  assert_not_equals(one, two);
  assert_equals(text, `--${two}--\r\n`);
}, "a form of nothing");

const parse = (text, boundary = "b") => new Response(text, { headers: { "content-type": `multipart/form-data; boundary=${boundary}` } }).formData();
const part = (head, body) => `--b\r\n${head}\r\n\r\n${body}\r\n`;

promise_test(async () => {
  const f = await parse(`${part('Content-Disposition: form-data; name="a"', "1")}${part('content-disposition: form-data; name="f"; filename="n.txt"\r\ncontent-type: t/p; x=y', "\r\n--c\r\n")}--b--\r\n`);
  assert_array_equals(list(f), ["a=1", "f=n.txt:t/p; x=y:7"]);
  assert_equals(await f.get("f").text(), "\r\n--c\r\n");
}, "a form is read");

promise_test(async () => {
  const f = await parse(`${part('Content-Disposition: form-data; name="f"; filename=""', "")}${part("Content-Disposition: form-data; name=\"%22%0D%0A\"", "ä")}--b--`);
  assert_array_equals(list(f), ["f=:text/plain:0", "\"\r\n=ä"]);
}, "names are unescaped, a file without a type is text/plain, the last line end may lack");

for (const [what, text] of [
  ["nothing", ""],
  ["no boundary", "x"],
  ["no end", part('Content-Disposition: form-data; name="a"', "1")],
  ["no name", `${part("Content-Disposition: form-data", "1")}--b--\r\n`],
  ["no disposition", `${part("Content-Type: a/b", "1")}--b--\r\n`],
  ["another disposition", `${part('Content-Disposition: attachment; name="a"', "1")}--b--\r\n`],
  ["a name without its quote", `${part('Content-Disposition: form-data; name="a', "1")}--b--\r\n`],
  ["a body that the boundary does not end", `--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1--b--\r\n`],
]) {
  promise_test((t) => promise_rejects_js(t, TypeError, parse(text)), `a form that is refused: ${what}`);
}
