// The modules `wapo:sockets` and `wapo:http`: uses that must be right, and mistakes that must be found. Checked by
// `cargo xtask types`; never run.
import { serve } from "wapo:http";
import { SocketError, connect, listen, udp } from "wapo:sockets";

const socket = connect("example.com:443", { secureTransport: "on", alpn: ["h2"] });
const { remoteAddress } = await socket.opened;
await socket.writable.getWriter().write("hello");
for await (const chunk of socket.readable) console.log(chunk.length, remoteAddress);
await socket.close();
// @ts-expect-error no such transport
connect({ hostname: "example.com", port: 1 }, { secureTransport: "tls" });
// @ts-expect-error a port is a number
connect({ hostname: "example.com", port: "1" });

const listener = listen({ port: 3000, hostname: "127.0.0.1", allowHalfOpen: true });
for await (const client of listener) void client.readable.pipeTo(client.writable);
// @ts-expect-error a name needs a certificate and its key
listen({ serverName: "example.com" });

const datagrams = udp({ port: 5353 });
for await (const { data, address } of datagrams) await datagrams.send(data, address);
// @ts-expect-error a datagram is bytes or text
await datagrams.send(7);

const server = serve({ port: 3001, maxConnections: 10 }, (request, env) => new Response(`${request.url} ${env.NAME}`));
server.close();
// @ts-expect-error an answer is a Response
serve({ port: 3002 }, () => "text");
try {
  serve({ serverName: "a.example", certificate: "", key: "" }, { fetch: () => new Response() });
} catch (error) {
  if (error instanceof SocketError) console.log(error.code);
}
Wapo.httpsListen({ serverName: "own.example", attested: true }, (request) => Wapo.httpsSendResponseHead(request.opaqueResponseTx, {}));
Wapo.evidence("nonce").then((evidence) => evidence.byteLength);
Wapo.httpsListen({ address: "127.0.0.1:3003", headTimeout: 1000 }, (request) => Wapo.httpsSendResponseHead(request.opaqueResponseTx, {}));
