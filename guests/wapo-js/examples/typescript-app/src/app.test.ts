import assert from "node:assert";
import { beforeEach, describe, it } from "node:test";
import app from "./app.ts";
import { LinkStore } from "./links.ts";

const ask = (path: string, init?: RequestInit): Promise<Response> => app.fetch(new Request(`http://localhost${path}`, init), { TITLE: "Mine" });

describe("the service", () => {
  it("shows its page with the title of the environment", async () => {
    assert.match(await (await ask("/")).text(), /<title>Mine<\/title>/);
  });

  it("shortens a link and follows it", async () => {
    const made = await ask("/links", { method: "POST", body: "https://example.com/a" });
    assert.strictEqual(made.status, 201);
    const followed = await ask(made.headers.get("location") ?? "");
    assert.deepStrictEqual([followed.status, followed.headers.get("location")], [302, "https://example.com/a"]);
  });

  it("refuses what is no link", async () => {
    for (const text of ["", "javascript:alert(1)", "example.com"]) {
      assert.strictEqual((await ask("/links", { method: "POST", body: text })).status, 400, text);
    }
    assert.strictEqual((await ask("/links", { method: "PUT" })).status, 405);
    assert.strictEqual((await ask("/nothing")).status, 404);
  });
});

describe("the store", () => {
  let store: LinkStore;
  beforeEach(() => {
    store = new LinkStore();
  });

  it("gives the same link for the same target", () => {
    assert.strictEqual(store.add("https://example.com/"), store.add(" https://example.com "));
    assert.strictEqual(store.all().length, 1);
  });

  it("counts visits", () => {
    const link = store.add("https://example.com/");
    assert.ok(link !== null);
    store.visit(link.id);
    assert.partialDeepStrictEqual(store.all(), [{ visits: 1 }]);
  });
});
