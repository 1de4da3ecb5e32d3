// One verification: an instance of the verifier for one message, in a thread of its own.
// Whatever becomes of it, the page throws the thread away. What the module exports is in
// crates/wapo-verify-page/src/exports.rs.

addEventListener("message", async ({ data: { module, message } }) => {
  try {
    const { exports } = await WebAssembly.instantiate(module, {});
    // A pointer is a number without a sign.
    const input = exports.input(message.length) >>> 0;
    new Uint8Array(exports.memory.buffer, input, message.length).set(message);
    const length = exports.verify() >>> 0;
    const output = new Uint8Array(exports.memory.buffer, exports.output() >>> 0, length);
    postMessage({ answer: JSON.parse(new TextDecoder().decode(output)) });
  } catch (error) {
    postMessage({ broken: error.message });
  }
});
