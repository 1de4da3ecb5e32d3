// A program of several files in TypeScript: short links, with routes, a store, a page in a file of text, and tests.
//
//     wapo run guests/wapo-js/examples/typescript-app --watch
//     wapo test guests/wapo-js/examples/typescript-app
//     curl -d https://example.com/a/long/path http://127.0.0.1:8100/links
//
// Types are taken out when it is run; `npx tsc` checks them.
import page from "./page.txt" with { type: "text" };
import { LinkStore } from "./links.ts";
import { route, type Handler, type Routes } from "./router.ts";

const links = new LinkStore();

const add: Handler = async ({ request }) => {
  const link = links.add(await request.text());
  if (link === null) return new Response("expected a URL that begins with http: or https:\n", { status: 400 });
  return Response.json(link, { status: 201, headers: { location: `/${link.id}` } });
};

const follow: Handler = ({ params }) => {
  const link = links.visit(params.id ?? "");
  return link === null ? null : new Response(null, { status: 302, headers: { location: link.target } });
};

const routes: Routes = [
  ["GET", "/", ({ env }) => new Response(page.replaceAll("TITLE", env.TITLE ?? "Links"), { headers: { "content-type": "text/html; charset=utf-8" } })],
  ["GET", "/links", () => Response.json(links.all())],
  ["POST", "/links", add],
  ["GET", "/:id", follow],
];

export default {
  fetch: (request, env) => route(routes, request, env),
} satisfies WapoProgram;
