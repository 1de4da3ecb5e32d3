// ECMA-262: programs that are to be accepted, and programs that are to be refused before anything runs, of test262-parser-tests.
// The engine reads a program with a line before it that throws: what is thrown says whether it was accepted. A program that begins
// with "use strict" gets that in front, too. Modules need `import`, and are counted apart, as are those that the line would change.
const read = eval;
const accepted = { isAccepted: true };
globalThis.throwAccepted = () => { throw accepted; };

function isAccepted(text) {
  const strict = /^\s*(?:(?:\/\*[^]*?\*\/|\/\/.*\n)\s*)*(["'])use strict\1/.test(text) ? '"use strict";' : "";
  try {
    read(`${strict}throwAccepted();\n${text}`);
  } catch (error) {
    if (error === accepted) return true;
    if (error instanceof SyntaxError) return false;
    throw error;
  }
  throw new Error("it ran");
}

function all(kind, texts, expected) {
  let modules = 0;
  for (const [name, text] of Object.entries(texts)) {
    if (name.includes(".module.")) modules++;
    else test(() => assert_equals(isAccepted(text), expected), `${kind}/${name}`);
  }
  assert_greater_than(modules, 0);
}

promise_test(async () => all("pass", await (await fetch("/data/test262-parser-tests/pass.json")).json(), true), "pass");
promise_test(async () => all("pass-explicit", await (await fetch("/data/test262-parser-tests/pass-explicit.json")).json(), true), "pass-explicit");
promise_test(async () => all("fail", await (await fetch("/data/test262-parser-tests/fail.json")).json(), false), "fail");
promise_test(async () => all("early", await (await fetch("/data/test262-parser-tests/early.json")).json(), false), "early");
