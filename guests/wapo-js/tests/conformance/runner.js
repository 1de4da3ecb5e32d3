// Runs one file of Web Platform Tests for each request: `POST` of { harness, sources, files, path, search }, all of them texts; `files`
// is what the test may fetch by a relative path, the last two are what the test sees as its location. Answers { passed, failed: [[name, message]] }.
// `harness` is testharness.js of Web Platform Tests itself, in its environment for shells. It is evaluated anew for each file.

// Time for the tests of one file.
const LIMIT_MS = 120_000;
// Characters of a failure's message that are kept.
const MESSAGE_MAX = 300;
const PASS = 0;

// Tests declare what they like.
const evaluate = eval, { setTimeout, clearTimeout, Response, fetch, JSON } = globalThis;

globalThis.GLOBAL = { isWindow: () => false, isWorker: () => false, isShadowRealm: () => false };

function run({ harness, sources, files, path, search }) {
  const { promise, resolve } = Promise.withResolvers();
  let passed = 0;
  const failed = [];
  const text = (value) => String(value).toWellFormed();
  const fail = (name, message) => failed.push([text(name), text(message).slice(0, MESSAGE_MAX)]);
  const end = (message) => {
    clearTimeout(timer);
    if (message !== null) fail("(the file)", message);
    resolve({ passed, failed });
  };
  // What the file before has left.
  performance.clearMarks();
  performance.clearMeasures();
  const timer = setTimeout(() => end("its tests did not end in time"), LIMIT_MS);
  try {
    evaluate(harness);
    add_result_callback((test) => {
      if (test.status === PASS) passed++;
      else fail(test.name, test.message);
    });
    add_completion_callback((_tests, status) => end(status.status === status.OK ? null : status.message));
    const local = (input, init) => (Object.hasOwn(files, input) ? Promise.resolve(new Response(files[input])) : fetch(input, init));
    const location = new URL(`https://wpt.test${path}${search}`);
    evaluate(`(function (fetch, location) {${sources.join("\n;")}\n})`)(local, location);
  } catch (error) {
    end(`it threw ${error}`);
  }
  return promise;
}

export default {
  async fetch(request) {
    return Response.json(await run(await request.json()));
  },
};
