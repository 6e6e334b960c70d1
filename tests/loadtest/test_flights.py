"""Calls over real connections: what is recorded of them is what the server saw."""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field

import pytest

from batchkms.kms.http1.requests import request_bytes
from batchkms.kms.transport import Answer
from batchkms.loadtest.call import Call
from batchkms.loadtest.flights import Flights
from batchkms.loadtest.judging import Judged
from batchkms.loadtest.models import ClosedModel
from batchkms.retry import RetryPolicy
from tests.kms.http1.pools import pool_to, until
from tests.kms.servers import Seen, answering, http, listening, read_request

MOST = 4
"""Connections, and calls of which some wait for one while others wait for their next try."""


@dataclass
class Numbered:
    """The content of one call, which its request names and its answer must name."""

    number: int
    action: str = "encrypt"
    sent: list[bytes] = field(default_factory=list)

    def request(self) -> bytes:
        # Another one each time, as a signature is.
        self.sent.append(request_bytes({"Host": "kms"}, f"{self.number}/{len(self.sent)}".encode()))
        return self.sent[-1]

    def judge(self, answer: Answer) -> Judged:
        if answer.status == 503:
            return Judged("internal", "Http503", None, True)
        number, attempt = answer.body.split(b"/")
        assert (int(number), int(attempt)) == (self.number, len(self.sent) - 1)
        if answer.status != 200:
            return Judged("throttled", "RequestLimitExceeded", None, True)
        return Judged("ok", None, None, True)


@dataclass
class AllNumbered:
    """The contents of a run."""

    made: list[Numbered] = field(default_factory=list)

    def next(self) -> Numbered:
        self.made.append(Numbered(len(self.made)))
        return self.made[-1]


@dataclass
class Failing:
    """Answers some requests, refuses some, and closes the connection on others."""

    rng: random.Random
    seen: Seen = field(default_factory=Seen)
    answered: Counter[int] = field(default_factory=Counter)
    """Bytes of the answers to each call."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader, self.seen)
            doing = self.rng.choice(["answer", "answer", "refuse", "close", "answer and close"])
            if doing == "close":
                return
            body = self.seen.bodies[-1]
            answer = http(body, status="429 Too Many" if doing == "refuse" else "200 OK")
            self.answered[int(body.split(b"/")[0])] += len(answer)
            writer.write(answer)
            await writer.drain()
            if doing == "answer and close":
                return


@pytest.mark.parametrize("attempts", [1, 3])
async def test_what_is_recorded_is_what_the_server_saw(attempts: int) -> None:
    server = Failing(random.Random(attempts))  # noqa: S311 - no secret, and the same in every run
    contents, calls = AllNumbered(), list[Call]()
    policy = RetryPolicy(max_attempts=attempts, base_s=0.002)
    async with listening(server) as port, pool_to(port, max_connections=MOST) as pool:
        flights = Flights(pool, retry=policy, record=calls.append)
        flights.zero_s = time.monotonic()
        # More calls than connections: tries that are due wait for one.
        await ClosedModel(flights, contents, concurrency=3 * MOST, duration_s=0.3).run()
        assert (flights.under_way, flights.room, pool.room) == (0, MOST, MOST)
    assert len(calls) == len(contents.made) > 50
    by_due = sorted(calls, key=lambda call: call.scheduled)
    for call, content in zip(by_due, contents.made, strict=True):
        assert call.attempts == len(content.sent) <= attempts
        assert call.bytes == sum(map(len, content.sent)) + server.answered[content.number]
        assert call.sent is not None
        assert 0 <= call.scheduled <= call.sent <= call.done
    sent = [body_of(request) for content in contents.made for request in content.sent]
    # What was sent when a connection was just closed was never read.
    assert Counter(server.seen.bodies) <= Counter(sent)
    assert {call.outcome for call in calls} == {"ok", "throttled", "network"}
    assert (max(call.attempts for call in calls) > 1) == (attempts > 1)


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


async def test_calls_that_wait_for_their_next_try_keep_no_answers() -> None:
    page = http(bytes(1_000_000), status="503 Busy")
    contents, calls = AllNumbered(), list[Call]()
    async with answering(page) as (port, _), pool_to(port) as pool:
        policy = RetryPolicy(max_attempts=5, base_s=50.0, cap_s=50.0)
        flights = Flights(pool, retry=policy, record=calls.append, uniform=lambda: 1.0)
        flights.zero_s = time.monotonic()
        tracemalloc.start()
        try:
            for _ in range(20):
                flights.begin(0.0, contents.next())
                await until(lambda: pool.busy == 0)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (flights.under_way, calls) == (20, [])
        flights.give_up_waiting()
    assert [call.code for call in calls] == ["Http503"] * 20
    assert held < 3_000_000
