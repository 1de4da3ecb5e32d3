// A WebSocket server that sends back what it gets, for the frames of crates/wapo-cli/tests/command/javascript_websockets.rs and for the
// package `websockets` of PyPI. "close 1000 why" closes; /ends tells how connections ended.
const ends = [];

export default {
  fetch(request) {
    const url = new URL(request.url);
    if (url.pathname === "/ends") return Response.json(ends.splice(0));
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return new Response("a WebSocket is wanted\n", { status: 426, headers: { upgrade: "websocket" } });
    const [client, server] = new WebSocketPair();
    server.accept();
    server.addEventListener("message", ({ data }) => {
      const close = typeof data === "string" && /^close (\d+) ?([^]*)$/.exec(data);
      if (close) server.close(Number(close[1]), close[2]);
      else server.send(data);
    });
    server.addEventListener("close", ({ code, reason, wasClean }) => ends.push({ code, reason, wasClean }));
    const asked = request.headers.get("sec-websocket-protocol")?.split(",")[0].trim();
    return new Response(null, { status: 101, webSocket: client, headers: asked ? { "sec-websocket-protocol": asked } : {} });
  },
};
