"""Calls of every kind with grpcio, to the service of the guest `sdk-suite` behind a worker's gateway.

Arguments: the address of the user port, and the app's host name. Messages are bytes, so there is no schema.
The same calls are made with tonic in tests/e2e/grpc.rs.
"""

import queue
import sys

import grpc

# Seconds for one call; far more than it needs.
LIMIT = 60


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def check(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")
    print(f"{what}: as it should be")


def main(address, host):
    channel = grpc.insecure_channel(address, options=[("grpc.default_authority", host)])
    path = "/suite.Echo/{}".format

    unary = lambda name: channel.unary_unary(path(name))
    check("unary", unary("Unary")(b"hello", timeout=LIMIT), b"hello")
    check("large", len(unary("Unary")(bytes(3 << 20), timeout=LIMIT)), 3 << 20)

    count = channel.stream_unary(path("Count"))
    check("client streaming", count(iter([b"x"] * 1000), timeout=LIMIT), b"1000")

    repeat = channel.unary_stream(path("Repeat"))
    numbers = [str(number).encode() for number in range(20)]
    check("server streaming", list(repeat(b"20", timeout=LIMIT)), numbers)

    said = queue.Queue()
    heard = channel.stream_stream(path("Chat"))(iter(said.get, None), timeout=LIMIT)
    for word in (b"one", b"two", b"three"):
        said.put(word)
        check("both sides at once", next(heard), word)
    said.put(b"stop")
    check("the app ends it", list(heard), [])
    said.put(None)

    codes = grpc.StatusCode
    check("error", code_of(lambda: unary("Missing")(b"x", timeout=LIMIT)), codes.NOT_FOUND)
    check("no such method", code_of(lambda: unary("Nosuch")(b"x", timeout=LIMIT)), codes.UNIMPLEMENTED)
    broken = channel.unary_stream(path("Break"))(b"x", timeout=LIMIT)
    check("a message before an error", next(broken), b"the first")
    check("an error after a message", code_of(lambda: list(broken)), codes.NOT_FOUND)

    check("deadline", code_of(lambda: unary("Wait")(b"x", timeout=0.2)), codes.DEADLINE_EXCEEDED)
    cancelled = unary("Wait").future(b"x", timeout=LIMIT)
    cancelled.cancel()
    check("cancellation", cancelled.cancelled(), True)
    check("afterwards", unary("Unary")(b"still here", timeout=LIMIT), b"still here")
    channel.close()


main(*sys.argv[1:])
