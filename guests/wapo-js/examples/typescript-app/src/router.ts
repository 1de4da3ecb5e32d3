// Finds what answers a request, by method and path.

export interface Call {
  readonly request: Request;
  readonly env: WapoEnv;
  readonly params: Readonly<Record<string, string | undefined>>;
}

// `null`: there is nothing after all.
export type Handler = (call: Call) => Response | null | Promise<Response | null>;
export type Routes = readonly (readonly [method: string, path: string, handler: Handler])[];

export async function route(routes: Routes, request: Request, env: WapoEnv): Promise<Response> {
  let allowed: string[] = [];
  for (const [method, pathname, handler] of routes) {
    const match = new URLPattern({ pathname }).exec(request.url);
    if (match === null) continue;
    if (method !== request.method) {
      allowed = [...allowed, method];
      continue;
    }
    const answer = await handler({ request, env, params: match.pathname.groups });
    if (answer !== null) return answer;
  }
  if (allowed.length > 0) return new Response("another method\n", { status: 405, headers: { allow: allowed.join(", ") } });
  return new Response("not found\n", { status: 404 });
}
