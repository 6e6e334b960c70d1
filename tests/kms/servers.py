"""Real servers on loopback that answer as told: HTTP, HTTPS, raw bytes, and a CONNECT proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from batchkms.kms.transport import Answer

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def as_it_is(answer: Answer) -> Answer:
    """What a caller makes of an answer who wants to see it."""
    return answer


@dataclass
class Seen:
    """What a server saw: connections, and each request's head (as lines) and body."""

    connections: int = 0
    heads: list[list[str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def header(self, name: str, request: int = -1) -> list[str]:
        """Every value of a header of one request."""
        lines = [line.partition(": ") for line in self.heads[request][1:]]
        return [value for key, _, value in lines if key.lower() == name.lower()]


async def read_request(reader: asyncio.StreamReader, seen: Seen) -> None:
    """Reads one request with a Content-Length. Raises IncompleteReadError at the end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    seen.heads.append(head)
    length = seen.header("Content-Length")
    seen.bodies.append(await reader.readexactly(int(length[0]) if length else 0))


def http(body: bytes, *, status: str = "200 OK", more: str = "") -> bytes:
    """An HTTP answer as bytes."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def listening(
    peer: Peer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """The port of a server that talks to every connection by `peer`."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        try:
            await peer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


@asynccontextmanager
async def answering(
    answer: bytes,
    *,
    tls: ssl.SSLContext | None = None,
    close: bool = False,
    host: str = "127.0.0.1",
) -> AsyncIterator[tuple[int, Seen]]:
    """A server that gives this answer, byte for byte, to every request."""
    seen = Seen()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        while True:
            await read_request(reader, seen)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    async with listening(peer, tls=tls, host=host) as port:
        yield port, seen


@asynccontextmanager
async def connect_proxy(*, refuse: bool = False) -> AsyncIterator[tuple[int, Seen]]:
    """An HTTP proxy that tunnels CONNECT, or refuses it with 407."""
    seen = Seen()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        await read_request(reader, seen)
        if refuse:
            writer.write(http(b"", status="407 Proxy Authentication Required"))
            return
        host, _, port = seen.heads[-1][0].split()[1].rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))
        finally:
            up_writer.transport.abort()

    async with listening(peer) as port:
        yield port, seen
