// What the JavaScript app of the bench does (`bench/src/serve/javascript.rs`).
export default {
  fetch() {
    return new Response("Hello, World!", { headers: { "content-type": "text/plain", server: "bench" } });
  },
};
