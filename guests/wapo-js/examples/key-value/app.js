// A small store of texts by key that outlives the instance: the worker keeps 64 KiB of boot data for each app.
//
//     wapo run guests/wapo-js/examples/key-value
//     curl -X PUT --data-binary tea http://127.0.0.1:8100/drink
//     curl http://127.0.0.1:8100/drink
//
// Deployed, what was stored is there after a restart of the program and of the worker. The values are encrypted with a
// secret that only this app can derive. Both belong to this very code: a changed version begins empty, with another secret.

const BYTES_MAX = 60_000;

const key = await crypto.subtle.importKey("raw", Wapo.deriveSecret("key-value/1").slice(0, 32), "AES-GCM", false, ["encrypt", "decrypt"]);
const entries = await load();

async function load() {
  const record = Wapo.bootData();
  if (record === null || record.length === 0) return new Map();
  const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: record.slice(0, 12) }, key, record.slice(12));
  return new Map(JSON.parse(new TextDecoder().decode(plain)));
}

// One after the other, so that the record is that of the last change.
let saving = Promise.resolve();

function save() {
  saving = saving.catch(() => {}).then(async () => {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const plain = new TextEncoder().encode(JSON.stringify([...entries]));
    if (plain.length > BYTES_MAX) throw new RangeError("the store is full");
    const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plain));
    Wapo.storeBootData(Wapo.concatU8a([iv, sealed]));
  });
  return saving;
}

async function change(name, value) {
  const before = entries.get(name);
  if (value === undefined) entries.delete(name);
  else entries.set(name, value);
  try {
    await save();
  } catch (error) {
    if (before === undefined) entries.delete(name);
    else entries.set(name, before);
    return new Response(`${error.message}\n`, { status: 507 });
  }
  return new Response(null, { status: 204 });
}

export default {
  async fetch(request) {
    const name = decodeURIComponent(new URL(request.url).pathname.slice(1));
    if (name === "") return Response.json([...entries.keys()]);
    switch (request.method) {
      case "GET": return entries.has(name) ? new Response(entries.get(name)) : new Response("not found\n", { status: 404 });
      case "PUT": return change(name, await request.text());
      case "DELETE": return change(name, undefined);
      default: return new Response("use GET, PUT or DELETE\n", { status: 405, headers: { allow: "GET, PUT, DELETE" } });
    }
  },
};
