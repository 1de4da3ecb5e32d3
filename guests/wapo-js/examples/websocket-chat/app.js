// A chat: each connected client gets what the others send.
//
//     wapo run guests/wapo-js/examples/websocket-chat     # open the URL in two windows
//
// One instance serves all clients, so they are a Map in its memory.

const people = new Map();
let count = 0;

function tell(text) {
  for (const socket of people.values()) socket.send(text);
}

function join() {
  const { 0: client, 1: server } = new WebSocketPair();
  const name = `guest ${++count}`;
  server.accept();
  server.addEventListener("message", ({ data }) => {
    if (typeof data === "string") tell(`${name}: ${data.slice(0, 500)}`);
  });
  server.addEventListener("close", () => {
    people.delete(name);
    tell(`${name} has left`);
  });
  people.set(name, server);
  tell(`${name} has come; ${people.size} are here`);
  return new Response(null, { status: 101, webSocket: client });
}

const page = `<!doctype html>
<title>Chat</title>
<form id="form"><input id="text" autofocus autocomplete="off"> <button>Say</button></form>
<ul id="list"></ul>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws"));
  socket.onmessage = ({ data }) => list.prepend(Object.assign(document.createElement("li"), { textContent: data }));
  form.onsubmit = (event) => {
    event.preventDefault();
    socket.send(text.value);
    text.value = "";
  };
</script>
`;

export default {
  fetch(request) {
    if (request.headers.get("upgrade") === "websocket") return join();
    return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
  },
};
