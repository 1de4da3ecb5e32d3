// A service that checks the platform it runs on: GET / runs every check and answers
// { "good": number, "bad": ["name: got instead of wanted", …] }. Used by the modules beside it; e2e asserts that `bad` is empty.

// Text that tells values apart that JSON does not.
function form(value) {
  if (Array.isArray(value)) return `[${value.map(form).join(", ")}]`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "object" && value !== null) return `{${Object.keys(value).map((k) => `${k}: ${form(value[k])}`).join(", ")}}`;
  return String(value);
}

// The name of what a function throws, or of what a promise rejects with; "none" when it does not.
export function thrown(f) {
  try {
    f();
    return "none";
  } catch (e) {
    return e?.name ?? String(e);
  }
}

export const rejected = (promise) => promise.then(() => "none", (e) => e?.name ?? String(e));

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const streamOf = (...parts) => new ReadableStream({
  start(c) {
    for (const p of parts) c.enqueue(typeof p === "string" ? new TextEncoder().encode(p) : p);
    c.close();
  },
});

// `areas`: functions of (equal, request) that may be asynchronous.
export async function run(areas, request) {
  const bad = [];
  let good = 0;
  for (const [area, check] of Object.entries(areas)) {
    const equal = (name, got, wanted) => {
      if (form(got) === form(wanted)) good++;
      else bad.push(`${area}, ${name}: ${form(got)} instead of ${form(wanted)}`);
    };
    try {
      await check(equal, request);
    } catch (e) {
      bad.push(`${area} ended: ${e} ${e?.stack}`);
    }
  }
  return Response.json({ good, bad });
}

export const service = (areas) => ({ fetch: (request) => run(areas, request) });
