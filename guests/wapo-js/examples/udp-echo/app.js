// Sends each datagram back to where it came from. Answers go where the operator lets the app send to:
//
//   wapo run guests/wapo-js/examples/udp-echo --allow-egress 127.0.0.1 -- 3000
//   echo hello | nc -u -w 1 127.0.0.1 3000
import { udp } from "wapo:sockets";

const socket = udp({ port: Number(scriptArgs[0] ?? 3000) });
console.log(`listening on ${socket.address}`);

for await (const { data, address } of socket) {
  // That one client may not have its answer is no reason to end.
  socket.send(data, address).catch((error) => console.log(`no answer for ${address}: ${error.message}`));
}
