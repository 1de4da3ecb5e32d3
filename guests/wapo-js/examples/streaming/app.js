// Server-sent events: an answer that goes on while the client listens.
//
//     wapo run guests/wapo-js/examples/streaming
//     curl -N 'http://127.0.0.1:8100/?count=5'      # or open http://127.0.0.1:8100/page
//
// The stream is pulled by the client: who reads slowly is sent less, and who leaves ends it.

const PAUSE_MS = 200;

function ticks(count) {
  let number = 0;
  return new ReadableStream({
    async pull(controller) {
      if (number === count) return controller.close();
      await new Promise((resolve) => setTimeout(resolve, number === 0 ? 0 : PAUSE_MS));
      number++;
      const event = `id: ${number}\nevent: tick\ndata: ${JSON.stringify({ number, of: count })}\n\n`;
      controller.enqueue(new TextEncoder().encode(event));
    },
    cancel() {
      console.log(`the client left after ${number} events`);
    },
  });
}

const page = `<!doctype html>
<title>Ticks</title>
<ol id="list"></ol>
<script>
  const source = new EventSource("/?count=20");
  source.addEventListener("tick", ({ data }) => {
    list.append(Object.assign(document.createElement("li"), { textContent: data }));
  });
  source.onerror = () => source.close();
</script>
`;

export default {
  fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/page") return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
    const count = Math.min(Number(searchParams.get("count") ?? 10) || 10, 1000);
    return new Response(ticks(count), {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    });
  },
};
