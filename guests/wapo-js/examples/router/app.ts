// A store of notes behind hono (https://hono.dev), a router from npm: `npm install`, then `wapo run .`
// It knows each request's id everywhere, by AsyncLocalStorage.
import { AsyncLocalStorage } from "node:async_hooks";
import { Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { type Note, Notes } from "./notes.js";

const requests = new AsyncLocalStorage<string>();
const log = (text: string) => console.log(`${requests.getStore()}: ${text}`);

const notes = new Notes();
const app = new Hono();

app.use(async (context, next) => {
  const id = context.req.header("x-request-id") ?? crypto.randomUUID();
  context.header("x-request-id", id);
  await requests.run(id, next);
});
app.use("/notes/*", cors());

app.get("/notes", (context) => context.json(notes.all()));

app.post("/notes", async (context) => {
  const { text } = await context.req.json<Partial<Note>>();
  if (typeof text !== "string" || text === "") throw new HTTPException(400, { message: "a note has a text" });
  const note = notes.add(text);
  log(`added ${note.id}`);
  return context.json(note, 201);
});

app.get("/notes/:id{[0-9]+}", (context) => {
  const note = notes.get(Number(context.req.param("id")));
  return note === undefined ? context.notFound() : context.json(note);
});

app.get("/broken", () => notes.break());

app.onError((error, context) => {
  if (error instanceof HTTPException) return error.getResponse();
  // The places are those of the files here, not of the bundle.
  console.error(error);
  return context.text(error.stack ?? "", 500);
});

export default app;
