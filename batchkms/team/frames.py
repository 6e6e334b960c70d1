"""Messages between a parent and a member: their kinds, and how they travel over a socket.

frame    length of the rest (4 bytes, little-endian) | kind (1 byte) | payload
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import cast

_HEAD = struct.Struct("<IB")


class Kind(IntEnum):
    """What a message is. To the member, then from it."""

    JOB = 1
    """All that it needs to begin; the first one."""
    ROWS = 2
    """Rows to do, as they were read."""
    LINES = 3
    """Lines of the input, of which it is to make rows itself."""
    PERMITS = 4
    LIMITS = 5
    """Which quota groups have a limit."""
    CONCURRENCY = 6
    NO_MORE = 7
    """No more rows will come."""
    DRAIN = 8
    STOP = 9

    READY = 20
    RESULTS = 21
    DIGESTS = 22
    """Digests of blocks of rows, and fields that were seen in them."""
    WANTED = 23
    """So many permits more are waited for."""
    THROTTLED = 24
    STATUS = 25
    ENDED = 26
    """The last one: how it came out."""


def framed(kind: Kind, *parts: bytes) -> list[bytes]:
    """The pieces of a frame."""
    return [_HEAD.pack(1 + sum(map(len, parts)), kind), *parts]


class Link(asyncio.Protocol):
    """One end of a socket pair: `received` is called with each message, `lost` at the end."""

    def __init__(
        self, received: Callable[[Kind, bytes], None], lost: Callable[[], None] | None = None
    ) -> None:
        self._received = received
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        buffer = self._buffer
        buffer += data
        begin, size = 0, len(buffer)
        while size - begin >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, begin)
            end = begin + _HEAD.size - 1 + length
            if end > size:
                break
            with memoryview(buffer) as view:
                payload = bytes(view[begin + _HEAD.size : end])
            begin = end
            try:
                self._received(Kind(kind), payload)
            except Exception:
                # A defect. Whatever comes behind it must not be done as if it had not been there.
                if self._transport is not None:
                    self._transport.abort()
                raise
        del buffer[:begin]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        if self._lost is not None:
            self._lost()

    def send(self, kind: Kind, *parts: bytes) -> None:
        """Sends a message; nothing once the other end has gone, which `lost` tells."""
        if self._transport is not None:
            self._transport.write(b"".join(framed(kind, *parts)))

    def close(self) -> None:
        """Closes this end once all was sent."""
        if self._transport is not None:
            self._transport.close()


def read_frame(connection: socket.socket) -> tuple[Kind, bytes] | None:
    """The first message, read before there is an event loop; None if the other end has gone."""
    head = _exactly(connection, _HEAD.size)
    if head is None:
        return None
    length, kind = _HEAD.unpack(head)
    payload = _exactly(connection, length - 1)
    return None if payload is None else (Kind(kind), payload)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)
