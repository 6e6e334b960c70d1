"""A load generator that costs less than any server: raw requests, signed before they are needed.

Each process keeps connections open, sends the next request of its list as soon as one is
answered, and looks at an answer only to see that it is an Encrypt's. It reports the CPU time it
took, so that whoever reads the figure can see that the generator was not the bottleneck.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import cast

import uvloop

CONNECTIONS = 16
"""Connections of each process."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What the generators did: answers a second, and the largest share of a core one took."""

    per_second: float
    busiest_share: float


class _Connection(asyncio.Protocol):
    """One kept connection."""

    answered = 0

    def __init__(self, requests: Iterator[bytes], until_s: float) -> None:
        self._requests = requests
        self._until_s = until_s
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Takes an answer in and sends the next request."""
        self._received += data
        if not self._received.endswith(b'"}}'):
            return
        if b'"CiphertextBlob"' not in self._received:
            self.done.set_exception(RuntimeError(f"an Encrypt failed: {self._received.decode()}"))
            return
        self._received = b""
        _Connection.answered += 1
        if self._transport is None or time.perf_counter() > self._until_s:
            self.connection_lost(None)
            return
        self._transport.write(next(self._requests))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends, for good or bad."""
        if self._transport is not None:
            self._transport.close()
        if not self.done.done():
            self.done.set_result(None)


def generate(endpoint: str, requests: Sequence[bytes], seconds: float, processes: int) -> Reached:
    """Loads an endpoint with requests, over and over, from several processes at once."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    task = json.dumps([base64.b64encode(request).decode() for request in requests])
    command = [sys.executable, "-m", "benchmarks.rawload", host, port, str(seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        if process.stdin is not None:
            process.stdin.write(task)
            process.stdin.close()
    told = []
    for process in running:
        if process.stdout is not None:
            told.append(json.loads(process.stdout.read()))
            process.stdout.close()
        process.wait()
    return Reached(
        per_second=sum(each["answered"] / each["wall_s"] for each in told),
        busiest_share=max(each["cpu_s"] / each["wall_s"] for each in told),
    )


async def _load(host: str, port: int, requests: Sequence[bytes], seconds: float) -> None:
    loop, source = asyncio.get_running_loop(), cycle(requests)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    until_s = began_s + seconds
    made = [
        await loop.create_connection(lambda: _Connection(source, until_s), host, port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    told = {
        "answered": _Connection.answered,
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    signed = [base64.b64decode(request) for request in json.load(sys.stdin)]
    uvloop.run(_load(sys.argv[1], int(sys.argv[2]), signed, float(sys.argv[3])))
