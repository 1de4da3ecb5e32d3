// Fetch Living Standard, 6 (data: URLs), Infra, 7 (forgiving base64), MIME Sniffing, 4.4: data of Web Platform Tests as the crate
// `data-url` ships it.
const bytesOf = async (response) => [...new Uint8Array(await response.arrayBuffer())];

promise_test(async () => {
  for (const [input, type, expected] of await (await fetch("/data/data-url/data-urls.json")).json()) {
    promise_test(async (t) => {
      if (type === null) return promise_rejects_js(t, TypeError, fetch(input));
      const response = await fetch(input);
      assert_equals(response.status, 200);
      assert_equals(response.headers.get("content-type"), type);
      assert_array_equals(await bytesOf(response), expected);
    }, `fetch ${JSON.stringify(input)}`);
  }
}, "data: URLs");

promise_test(async () => {
  for (const [input, expected] of await (await fetch("/data/data-url/base64.json")).json()) {
    test(() => {
      if (expected === null) assert_throws_dom("InvalidCharacterError", () => atob(input));
      else assert_array_equals([...atob(input)].map((c) => c.charCodeAt(0)), expected);
    }, `atob ${JSON.stringify(input)}`);
    promise_test(async (t) => {
      const answer = fetch(`data:;base64,${input}`);
      if (expected === null) return promise_rejects_js(t, TypeError, answer);
      assert_array_equals(await bytesOf(await answer), expected);
    }, `fetch of base64 ${JSON.stringify(input)}`);
  }
}, "base64");

for (const file of ["mime-types.json", "generated-mime-types.json"]) {
  promise_test(async () => {
    const all = file === "mime-types.json" ? await fetch("/data/data-url/mime-types.json") : await fetch("/data/data-url/generated-mime-types.json");
    for (const one of await all.json()) {
      if (typeof one === "string") continue;
      const { input, output } = one;
      promise_test(async () => {
        const isByteString = !/[^\0-\xff]/.test(input) && !/[\0\r\n]/.test(input);
        if (!isByteString) return;
        const expected = output === null ? "" : output;
        assert_equals((await new Response("", { headers: { "content-type": input } }).blob()).type, expected, "of a response");
        const request = new Request("https://a.test/", { method: "POST", body: "x", headers: { "content-type": input } });
        assert_equals((await request.blob()).type, expected, "of a request");
      }, `Content-Type ${JSON.stringify(input)} (${file})`);
    }
  }, file);
}
