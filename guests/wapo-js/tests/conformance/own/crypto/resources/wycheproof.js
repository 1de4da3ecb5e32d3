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

// Verifies a signature; a key or signature that is refused is a signature that is not valid.
async function verified(algorithm, key, v) {
  try {
    return await subtle.verify(algorithm, await key(), hex(v.sig), hex(v.msg));
  } catch {
    return false;
  }
}

function signatures(get, algorithmOf, importKey) {
  vectors(get, async (v, group) => {
    const algorithm = algorithmOf(group);
    const is = await verified(algorithm, () => importKey(group, algorithm), v);
    if (v.result !== "acceptable") assert_equals(is, v.result === "valid");
  });
}

const spki = (group, algorithm) => subtle.importKey("spki", hex(group.publicKeyDer), algorithm, true, ["verify"]);
