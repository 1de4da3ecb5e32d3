// A WebSocket client: connects to what `?to=` names, sends what `?send=` has, and answers with what happened.
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    const events = [];
    const { promise, resolve } = Promise.withResolvers();
    const protocols = searchParams.getAll("protocol");
    const socket = new WebSocket(searchParams.get("to"), protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      events.push(["open", socket.protocol, socket.extensions]);
      for (const text of searchParams.getAll("send")) socket.send(text);
      for (const size of searchParams.getAll("bytes")) socket.send(new Uint8Array(Number(size)));
      if (searchParams.has("close")) socket.close(Number(searchParams.get("close")), searchParams.get("reason") ?? "");
    };
    socket.onmessage = ({ data }) => events.push(["message", typeof data === "string" ? data : `${data.byteLength} bytes`]);
    socket.onerror = () => events.push(["error"]);
    socket.onclose = ({ code, reason, wasClean }) => {
      events.push(["close", code, reason, wasClean]);
      resolve(Response.json(events));
    };
    return promise;
  },
};
