// Runs scripts of strangers, each in an isolate: its own memory, a limit of time, no network, no secret of this program.
//
//   curl --data 'module.exports = () => 6 * 7' http://…/
//   curl --data 'for (;;);' http://…/                       after half a second: the time limit is over
//
// The script's arguments are those of the query: `?arg=1&arg=2` are `scriptArgs`.

const LIMITS = { timeLimit: 500, memoryLimit: 16 * 1024 * 1024 };
const SCRIPT_BYTES_MAX = 64 * 1024;

export default {
  async fetch(request) {
    if (request.method !== "POST") {
      return new Response("POST a script; what its module.exports function returns comes back.\n", { status: 405, headers: { allow: "POST" } });
    }
    const script = await request.text();
    if (script.length > SCRIPT_BYTES_MAX) return new Response("the script is too long\n", { status: 413 });
    const args = new URL(request.url).searchParams.getAll("arg");
    const { isOk, value, error, logs } = await Wapo.run(script, { ...LIMITS, args });
    // The value is a clone: what JSON does not know, such as a Map, would be shown by console.log.
    return Response.json(isOk ? { value, logs } : { error, logs }, { status: isOk ? 200 : 422 });
  },
};
