"""Signed requests a second over each transport, side by side, against a stub on the other core.

    python -m benchmarks.transports [ROUNDS] [--seconds S] [--json FILE]

Every turn is a process of its own on uvloop: 64 calls under way at a time, each signed afresh
but for the first line, each answer looked at only to see that it is an Encrypt's. The table
gives medians, and the CPU time of the client's whole process for a call. The stub's own share
of a core tells whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import aiohttp
import uvloop

from batchkms.kms.aiohttptransport import AiohttpTransport
from batchkms.kms.endpoint import Endpoint, parse_endpoint
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.requests import RequestTemplate
from batchkms.kms.http1.transport import WireTransport
from batchkms.kms.signing import RequestSigner
from batchkms.kms.transport import Answer, Transport
from benchmarks.processes import machine, measured, server

IN_FLIGHT = 64
_BODY = b'{"KeyId":"benchmark","Plaintext":"YmVuY2htYXJrIHJvdyA%06d"}'


class Requests:
    """Bodies that differ, and the headers that sign them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._numbers = count()
        self._signer = RequestSigner(host=endpoint.host)
        self._constant = {
            "Host": endpoint.host,
            "Content-Type": "application/json",
            "User-Agent": "batchkms/benchmark",
            "X-TC-Version": "2019-01-18",
            "X-TC-Region": "ap-guangzhou",
            "X-TC-Language": "en-US",
            "X-TC-Action": "Encrypt",
        }
        self._template = RequestTemplate(self._constant)

    def signed(self) -> tuple[dict[str, str], bytes]:
        """The headers and the body of one more request."""
        varying, body = self._varying()
        return {**self._constant, **dict(varying)}, body

    def signed_bytes(self) -> bytes:
        """One more request as it is sent."""
        return self._template.request_bytes(*self._varying())

    def _varying(self) -> tuple[list[tuple[str, str]], bytes]:
        body = _BODY % (next(self._numbers) % 1_000_000)
        now = int(time.time())
        digest = hashlib.sha256(body).hexdigest()
        signed = self._signer.authorization("EXAMPLE", "example", now, digest)
        return [("X-TC-Timestamp", str(now)), ("Authorization", signed)], body


def looked_at(answer: Answer) -> bool:
    """Whether it is an Encrypt's."""
    if b'"CiphertextBlob"' not in answer.body:
        raise RuntimeError(f"an Encrypt failed: {answer!r}")
    return True


async def _by_workers(call: Callable[[], Awaitable[object]], until_s: float) -> int:
    done = 0

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < until_s:
            await call()
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    return done


async def bare_aiohttp(endpoint: Endpoint, until_s: float) -> int:
    """The best that aiohttp does: one request, signed once, sent over and over."""
    headers, body = Requests(endpoint).signed()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call() -> None:
            async with session.post(endpoint.url, data=body, headers=headers) as answer:
                looked_at(Answer(answer.status, await answer.read()))

        return await _by_workers(call, until_s)


async def _by_transport(transport: Transport, endpoint: Endpoint, until_s: float) -> int:
    requests = Requests(endpoint)
    try:
        return await _by_workers(lambda: transport.post(*requests.signed(), looked_at), until_s)
    finally:
        await transport.aclose()


async def aiohttp_transport(endpoint: Endpoint, until_s: float) -> int:
    """What batch runs use."""
    return await _by_transport(AiohttpTransport(endpoint), endpoint, until_s)


async def wire_transport(endpoint: Endpoint, until_s: float) -> int:
    """The second transport, by the same interface."""
    return await _by_transport(WireTransport(endpoint), endpoint, until_s)


class _Counted(Carried):
    """One call of the pool's turn."""

    done = 0

    __slots__ = ("_requests",)

    def __init__(self, requests: Requests) -> None:
        super().__init__()
        self._requests = requests

    def to_send(self) -> bytes:
        """The request, signed now."""
        return self._requests.signed_bytes()

    def ended(self) -> bool:
        """Counts it."""
        if self.answer is None:
            raise RuntimeError(f"a call failed: {self.error}")
        _Counted.done += 1
        return looked_at(self.answer)


async def pool(endpoint: Endpoint, until_s: float) -> int:
    """The connections of the second transport by callbacks, as a load test uses them."""
    requests = Requests(endpoint)
    connections = Pool(endpoint, max_connections=IN_FLIGHT)
    over = asyncio.get_running_loop().create_future()
    before = _Counted.done

    def more() -> None:
        if time.perf_counter() < until_s:
            connections.start(_Counted(requests))
        elif not connections.busy and not over.done():
            over.set_result(None)

    connections.on_room = more
    for _ in range(IN_FLIGHT):
        more()
    await over
    await connections.aclose()
    return _Counted.done - before


WAYS = {
    "bare aiohttp, signed once": bare_aiohttp,
    "AiohttpTransport, signed": aiohttp_transport,
    "WireTransport.post, signed": wire_transport,
    "Pool by callbacks, signed": pool,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one way did in its turn."""

    per_second: float
    cpu_us_per_call: float


async def _turn(way: str, url: str, seconds: float) -> None:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    done = await WAYS[way](parse_endpoint(url), began_s + seconds)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    print(json.dumps({"per_second": done / wall_s, "cpu_us_per_call": 1e6 * cpu_s / done}))


def _taken(way: str, url: str, seconds: float) -> Turn:
    command = [sys.executable, "-m", "benchmarks.transports", "--turn", way, url, str(seconds)]
    _, output = measured(command, environ={})
    return Turn(**json.loads(output))


def main(rounds: int, seconds: float, json_path: str | None) -> None:
    """Runs the rounds, prints a Markdown table, and keeps every figure as JSON."""
    turns: dict[str, list[Turn]] = {way: [] for way in WAYS}
    with server("-m", "benchmarks.stub_kms") as url:
        for _ in range(rounds):
            for way in WAYS:
                turns[way].append(_taken(way, url, seconds))
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}, medians of {rounds} rounds\n")
    print("| way | requests/s | times bare aiohttp | CPU µs a request |\n|---|---|---|---|")
    rates = {
        way: statistics.median(turn.per_second for turn in made) for way, made in turns.items()
    }
    base = next(iter(rates.values()))
    for way, made in turns.items():
        cpu = statistics.median(turn.cpu_us_per_call for turn in made)
        print(f"| {way} | {rates[way]:,.0f} | {rates[way] / base:.1f} | {cpu:.0f} |")
    if json_path is not None:
        kept = {way: [turn.per_second for turn in made] for way, made in turns.items()}
        Path(json_path).write_text(json.dumps({"machine": machine(), "requests_per_second": kept}))


def _option(name: str, default: str | None) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


if __name__ == "__main__":
    if "--turn" in sys.argv:
        uvloop.run(_turn(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        first = sys.argv[1] if len(sys.argv) > 1 else ""
        main(
            int(first) if first.isdigit() else 3,
            float(_option("--seconds", "3") or 3),
            _option("--json", None),
        )
