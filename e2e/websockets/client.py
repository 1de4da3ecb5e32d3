"""Speaks with WebSockets of programs in JavaScript: with their server as a client, and with their client as a server.

Arguments: the addresses where echo.js and client.js of guests/wapo-js/tests/websockets are served, and the port that
client.js may connect to.
"""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

wrong = []


def check(what, found, wanted):
    is_right = found == wanted
    print(f"{what}: {'as expected' if is_right else f'{found!r} instead of {wanted!r}'}")
    if not is_right:
        wrong.append(what)


async def with_server(address):
    async with connect(f"ws://{address}/", compression=None, max_size=None) as socket:
        for message in ["hi", "", "grüß 𐐷", b"", bytes(range(256)), "x" * 70_000, b"\xff" * (1 << 20)]:
            await socket.send(message)
            check(f"echo of {len(message)}", await socket.recv() == message, True)
        await socket.send(["in ", "three ", "fragments"])
        check("fragments", await socket.recv(), "in three fragments")
        await (await socket.ping(b"p"))
        check("a ping while messages go", True, True)
        await socket.send("close 4000 bye")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            check("closed by the program", (closed.rcvd.code, closed.rcvd.reason), (4000, "bye"))
    async with connect(f"ws://{address}/", subprotocols=["chat", "talk"]) as socket:
        check("protocol", socket.subprotocol, "chat")
        # permessage-deflate was offered, and is not spoken.
        check("extensions", socket.response.headers.get("sec-websocket-extensions"), None)
        await socket.send("a" * 1000)
        check("without compression", await socket.recv(), "a" * 1000)
        await socket.close(3001, "enough")
        check("closed by the client", (socket.close_code, socket.close_reason), (3001, "enough"))
    async with connect(f"ws://{address}/", max_size=None) as socket:
        try:
            await socket.send(b"x" * ((16 << 20) + 1))
            await socket.recv()
        except ConnectionClosed as closed:
            check("a message beyond the limit", closed.rcvd and closed.rcvd.code, 1009)
    sockets = await asyncio.gather(*[connect(f"ws://{address}/") for _ in range(50)])
    for number, socket in enumerate(sockets):
        await socket.send(str(number))
    check("fifty at once", [await socket.recv() for socket in sockets], [str(number) for number in range(50)])
    await asyncio.gather(*[socket.close() for socket in sockets])
    check("all are closed", {socket.close_code for socket in sockets}, {1000})


async def ask(address, **query):
    url = f"http://{address}/?{urllib.parse.urlencode(query, doseq=True)}"
    read = lambda: json.load(urllib.request.urlopen(url, timeout=60))
    return await asyncio.to_thread(read)


async def with_client(address, port):
    async def handler(socket):
        if socket.request.path == "/close":
            return await socket.close(4001, "no more")
        if socket.request.path == "/push":
            await (await socket.ping())
            await socket.send("text")
            await socket.send([b"1", b"2", b"3"])
            return
        try:
            async for message in socket:
                await socket.send(message)
                if message == "last":
                    return
        except ConnectionClosed:
            return  # With a code of the program.

    async def refuse(connection, request):
        return connection.respond(403, "no\n") if request.path == "/forbidden" else None

    def choose(connection, offered):
        return "b" if "b" in offered else None

    options = {"process_request": refuse, "select_subprotocol": choose, "compression": None}
    async with serve(handler, "127.0.0.1", port, **options):
        to = f"ws://127.0.0.1:{port}"
        opened = ["open", "", ""]
        found = await ask(address, to=f"{to}/echo", send=["a", "grüß", "last"], bytes=[])
        check("echo for the client", found, [opened, *[["message", text] for text in ["a", "grüß", "last"]], ["close", 1000, "", True]])
        found = await ask(address, to=f"{to}/push")
        check("pushed", found, [opened, ["message", "text"], ["message", "3 bytes"], ["close", 1000, "", True]])
        check("closed by the server", await ask(address, to=f"{to}/close"), [opened, ["close", 4001, "no more", True]])
        found = await ask(address, to=f"{to}/echo", close=3000, reason="done")
        check("closed by the program's client", found, [opened, ["close", 3000, "done", True]])
        found = await ask(address, to=f"{to}/echo", protocol=["a", "b"], close=1000)
        check("protocol for the client", found, [["open", "b", ""], ["close", 1000, "", True]])
        check("refused", await ask(address, to=f"{to}/forbidden"), [["error"], ["close", 1006, "", False]])


async def main(server, client, port):
    await with_server(server)
    await with_client(client, int(port))


asyncio.run(main(*sys.argv[1:]))
if wrong:
    sys.exit(f"wrong: {', '.join(wrong)}")
