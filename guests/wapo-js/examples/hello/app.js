// The smallest service: answers every request with a text.
//
//     wapo run guests/wapo-js/examples/hello --watch
//     curl http://127.0.0.1:8100/world
//
// `wapo deploy guests/wapo-js/examples/hello` brings it to a worker.

export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    return new Response(`${env.GREETING ?? "Hello"} from ${pathname}\n`);
  },
};
