// Sends back to each client what it says.
//
//   wapo run guests/wapo-js/examples/tcp-echo -- 3000
//   nc 127.0.0.1 3000
import { listen } from "wapo:sockets";

const listener = listen({ port: Number(scriptArgs[0] ?? 3000) });
console.log(`listening on ${listener.address}`);

for await (const socket of listener) {
  // A client that is slow to read is read from as slowly.
  socket.readable.pipeTo(socket.writable).catch((error) => console.log(`a client has left: ${error.message}`));
}
