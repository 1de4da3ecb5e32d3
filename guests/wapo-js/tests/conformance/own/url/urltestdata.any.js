// URL Living Standard, 4 and 6: data of Web Platform Tests as the crate `url` ships it, which may be newer than the others.
const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
const baseOf = ({ base }) => (base === null ? undefined : base);

promise_test(async () => {
  for (const one of await (await fetch("/data/url/urltestdata.json")).json()) {
    if (typeof one === "string") continue;
    test(() => {
      const base = baseOf(one);
      if (one.failure) {
        assert_throws_js(TypeError, () => new URL(one.input, base));
        assert_equals(URL.parse(one.input, base), null);
        assert_false(URL.canParse(one.input, base));
        return;
      }
      const url = new URL(one.input, base);
      for (const part of PARTS) assert_equals(url[part], one[part], part);
      if ("origin" in one) assert_equals(url.origin, one.origin, "origin");
      assert_true(URL.canParse(one.input, base));
      assert_equals(URL.parse(one.input, base).href, one.href);
    }, `${one.input} against ${one.base}`);
  }
}, "data of URLs");

promise_test(async () => {
  const all = await (await fetch("/data/url/setters_tests.json")).json();
  for (const [part, list] of Object.entries(all)) {
    if (part === "comment") continue;
    for (const one of list) {
      test(() => {
        const url = new URL(one.href);
        url[part] = one.new_value;
        for (const [name, value] of Object.entries(one.expected)) assert_equals(url[name], value, name);
      }, `${one.href}: ${part} = ${JSON.stringify(one.new_value)}`);
    }
  }
}, "data of setters");
