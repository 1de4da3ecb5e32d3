// URL Pattern Standard: data of Web Platform Tests as the crate `urlpattern` ships it. What its members mean is said beside
// their use.
const PARTS = ["protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"];

// A pattern made of a base takes more general parts of it; parts that neither names match everything.
function expectedPart(one, part) {
  if (typeof one.expected_obj === "object" && Object.hasOwn(one.expected_obj, part)) return one.expected_obj[part];
  if ((one.exactly_empty_components ?? []).includes(part)) return "";
  const [init, given] = one.pattern;
  if (typeof init === "object" && Object.hasOwn(init, part)) return init[part];
  const base = typeof init === "object" && Object.hasOwn(init, "baseURL") ? init.baseURL : typeof given === "string" ? given : null;
  if (base !== null && part !== "username" && part !== "password" && typeof init === "object" && inherits(init, part)) {
    const value = new URL(base)[part];
    return part === "protocol" ? value.slice(0, -1) : part === "search" || part === "hash" ? value.slice(1) : value;
  }
  return "*";
}

// URL Pattern Standard, "process a URLPatternInit": a part of the base is taken when no part before it is given.
function inherits(init, part) {
  const before = { protocol: ["protocol"], hostname: ["protocol", "hostname"], port: ["protocol", "hostname", "port"], pathname: ["protocol", "hostname", "port", "pathname"] };
  const all = before[part] ?? (part === "search" ? [...before.pathname, "search"] : [...before.pathname, "search", "hash"]);
  return all.every((name) => !Object.hasOwn(init, name));
}

function checkMatch(one, pattern) {
  const isMatch = one.expected_match !== null && one.expected_match !== undefined;
  if (one.expected_match === "error") {
    assert_throws_js(TypeError, () => pattern.test(...one.inputs));
    assert_throws_js(TypeError, () => pattern.exec(...one.inputs));
    return;
  }
  assert_equals(pattern.test(...(one.inputs ?? [])), isMatch, "test()");
  const result = pattern.exec(...(one.inputs ?? []));
  if (!isMatch) return void assert_equals(result, one.expected_match ?? null, "exec()");
  const inputs = one.expected_match.inputs ?? one.inputs;
  assert_equals(result.inputs.length, inputs.length, "inputs");
  assert_equals(JSON.stringify(result.inputs), JSON.stringify(inputs), "inputs");
  for (const part of PARTS) {
    let expected = one.expected_match[part];
    if (expected === undefined) {
      // Not told: what matches an empty input, in a group of a star unless the part has to be empty.
      expected = { input: "", groups: (one.exactly_empty_components ?? []).includes(part) ? {} : { 0: "" } };
    }
    // JSON has no undefined.
    const groups = Object.fromEntries(Object.entries(expected.groups).map(([name, value]) => [name, value ?? undefined]));
    assert_equals(result[part].input, expected.input, `input of ${part}`);
    assert_object_equals({ ...result[part].groups }, groups, `groups of ${part}`);
  }
}

promise_test(async () => {
  const all = await (await fetch("/data/urlpattern/urlpatterntestdata.json")).json();
  all.forEach((one, index) => {
    test(() => {
      if (one.expected_obj === "error") {
        assert_throws_js(TypeError, () => new URLPattern(...one.pattern));
        return;
      }
      const pattern = new URLPattern(...one.pattern);
      for (const part of PARTS) assert_equals(pattern[part], expectedPart(one, part), `pattern of ${part}`);
      checkMatch(one, pattern);
    }, `${index}: ${JSON.stringify(one.pattern)} and ${JSON.stringify(one.inputs)}`);
  });
}, "data of URL patterns");
