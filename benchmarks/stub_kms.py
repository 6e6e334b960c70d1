"""A KMS that answers every Encrypt at once and verifies nothing, to be faster than any client.

It is what clients are measured against where the emulator, which does the real work of
verifying and encrypting, would be the bottleneck. It listens on loopback alone.

    python -m benchmarks.stub_kms          # prints its endpoint, runs until it is ended
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
from base64 import b64encode
from itertools import count
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_KEY = re.compile(rb'"KeyId":\s*"([^"]*)"')

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_BODY = (
    b'{"Response":{"CiphertextBlob":"%s","KeyId":"%s","RequestId":"00000000-0000-4000-8000-%012d"}}'
)
BLOB = b"-k-".join(b64encode(random.Random(number).randbytes(48)) for number in range(3))  # noqa: S311 - it stands for a ciphertext, and is none
"""As a ciphertext blob looks: to search a text of one character takes ten times as long."""

_NUMBERS = count()


class StubKms(asyncio.Protocol):
    """One connection: requests in, the same ciphertext out, pipelined or not."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers every request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end + 2)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < total:
                return
            request, self._received = self._received[end:total], self._received[total:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        key = _KEY.search(request)
        body = _BODY % (BLOB, key[1] if key else b"", next(_NUMBERS))
        if self._transport is not None:
            self._transport.write(_HEAD % len(body) + body)


async def serve(protocol: type[StubKms], *, backlog: int = 100) -> None:
    """Serves until it is ended, and says where."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=backlog)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(StubKms))
