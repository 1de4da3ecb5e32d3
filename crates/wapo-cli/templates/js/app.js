// Answers web requests. `wapo run --watch` starts it again when you save.
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    console.log(request.method, pathname);
    if (pathname === "/json") {
      return Response.json({ method: request.method, pathname });
    }
    return new Response(`Hello! You asked for ${pathname}\n`);
  },
};
