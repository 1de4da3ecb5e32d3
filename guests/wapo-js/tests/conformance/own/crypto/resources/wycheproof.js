// What the files over Project Wycheproof's vectors share.
const { subtle } = crypto;
const hex = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const text = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const raw = (digits, algorithm, usages, extractable = true) => subtle.importKey("raw", hex(digits), algorithm, extractable, usages);

async function refused(promise) {
  try {
    await promise;
  } catch {
    return;
  }
  assert_unreached("it was not refused");
}

// A test for each vector of a file; the check gets the vector and its group.
function vectors(get, check) {
  const name = /wycheproof\/(\w+)_test/.exec(get)[1];
  promise_test(async () => {
    const { testGroups } = await (await get()).json();
    for (const group of testGroups) {
      for (const vector of group.tests) {
        promise_test(() => check(vector, group), `${name} ${vector.tcId} ${vector.result} ${vector.comment}`);
      }
    }
  }, name);
}
