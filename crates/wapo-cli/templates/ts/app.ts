// Answers web requests. `wapo run --watch` starts it again when you save.
interface Answer {
  method: string;
  pathname: string;
}

function describe(request: Request): Answer {
  const { pathname } = new URL(request.url);
  return { method: request.method, pathname };
}

export default {
  async fetch(request: Request): Promise<Response> {
    const answer = describe(request);
    console.log(answer.method, answer.pathname);
    if (answer.pathname === "/json") {
      return Response.json(answer);
    }
    return new Response(`Hello! You asked for ${answer.pathname}\n`);
  },
} satisfies WapoProgram;
