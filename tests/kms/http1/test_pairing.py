"""Whatever a server does to its answers, none is ever taken for that to another request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.requests import request_bytes
from tests.kms.http1.pools import Exchange
from tests.kms.servers import Seen, http, listening, read_request

CONNECTIONS = 3
CALLS = 12


@dataclass(frozen=True)
class Deed:
    """What a server does to one answer, and how many bytes it writes at a time."""

    name: str
    pieces: int


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nX: y\r\n\r\n"


# What is too much comes with the end of the answer: later, nothing can tell it from the next.
DEEDS: dict[str, Callable[[bytes], list[bytes]]] = {
    "answer": lambda body: [http(body)],
    "chunked": lambda body: [chunked(body)],
    "interim": lambda body: [b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + http(body)],
    "last": lambda body: [http(body, more="Connection: close\r\n"), b""],
    "until the end": lambda body: [b"HTTP/1.1 200 OK\r\n\r\n" + body, b""],
    "empty": lambda body: [http(b"")],
    "cut off": lambda body: [http(body)[:-1], b""],
    "hung up": lambda body: [b""],
    "twice": lambda body: [http(body) * 2],
    "chunked twice": lambda body: [chunked(body) * 2],
    "a line end too many": lambda body: [http(body) + b"\r\n"],
    "chunked and a line end": lambda body: [chunked(body) + b"\r\n"],
    "another one begun": lambda body: [http(body) + b"HTTP/1.1 200 OK\r\nContent-Length: 9"],
    "no HTTP": lambda body: [b"SSH-2.0-OpenSSH_9.6\r\n" + http(body)],
}

deeds = st.builds(Deed, st.sampled_from(sorted(DEEDS)), st.sampled_from([1, 3, 50, 10_000]))


async def play(script: list[Deed]) -> None:
    """Makes calls, three at a time, to a server that does these to them in turn."""
    numbers = count()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = Seen()
        while True:
            await read_request(reader, seen)
            deed = script[next(numbers) % len(script)]
            for data in DEEDS[deed.name](b"answer to " + seen.bodies[-1]):
                if not data:
                    return
                await write(writer, data, deed)

    async def write(writer: asyncio.StreamWriter, data: bytes, deed: Deed) -> None:
        surplus = deed.name not in ("answer", "chunked", "interim", "last", "until the end")
        cut = min(len(data), 40) if surplus else len(data)
        for at in range(0, cut, deed.pieces):
            if writer.is_closing():
                raise ConnectionResetError
            writer.write(data[at : min(at + deed.pieces, cut)])
            await asyncio.sleep(0)
        if writer.is_closing():
            raise ConnectionResetError
        writer.write(data[cut:])
        await writer.drain()

    async with listening(peer) as port:
        await _called(port)


async def _called(port: int) -> None:
    pool = Pool(
        parse_endpoint(f"http://127.0.0.1:{port}"), max_connections=CONNECTIONS, timeout_s=0.5
    )
    begun, ends, over = count(1), 0, asyncio.Event()

    def more() -> None:
        if (number := next(begun)) <= CALLS:
            body = b"request %d." % number
            ended: list[bytes] = []

            def on_done(exchange: Exchange) -> bool:
                nonlocal ends
                ends += 1
                ended.append(body)
                assert len(ended) == 1
                assert (exchange.answer is None) != (exchange.error is None)
                if exchange.answer is not None:
                    assert exchange.answer.body in (b"answer to " + body, b"")
                assert pool.open_connections <= CONNECTIONS
                if ends == CALLS:
                    over.set()
                return True

            pool.start(Exchange(lambda: request_bytes({}, body), on_done))

    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: defects.append(context))
    pool.on_room = more
    for _ in range(CONNECTIONS):
        more()
    async with asyncio.timeout(10):
        await over.wait()
    assert (pool.busy, pool.room) == (0, CONNECTIONS)
    await pool.aclose()
    assert (ends, pool.busy, pool.open_connections) == (CALLS, 0, 0)
    assert not defects, defects


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@given(script=st.lists(deeds, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_no_answer_goes_to_another_request(
    loop: Callable[[], asyncio.AbstractEventLoop], script: list[Deed]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play(script))
