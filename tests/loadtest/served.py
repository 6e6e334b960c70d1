"""A server made up for tests on virtual time: connections that answer after as long as is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from batchkms.errors import NetworkError
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.transport import Answer
from batchkms.loadtest.call import Call
from batchkms.loadtest.flights import Flights
from batchkms.loadtest.generator import Lateness
from batchkms.loadtest.judging import Judged
from batchkms.retry import RetryPolicy
from tests.virtual_time import TICK_S

GOOD = Judged("ok", None, "request-id", True)

ROUGHLY = 100 * TICK_S
"""What a time on the virtual loop may be off by."""


@dataclass
class Served:
    """A server that answers each request after `delay_s(now, number)`, None for an error."""

    delay_s: Callable[[float, int], float | None] = lambda now, number: 0.001
    most: int = 10_000
    busy: int = 0
    number: int = 0
    peak: int = 0
    on_room: Callable[[], None] | None = None

    @property
    def room(self) -> int:
        return self.most - self.busy

    @property
    def open_connections(self) -> int:
        return self.busy

    def start(self, exchange: Carried) -> None:
        assert self.room > 0
        loop = asyncio.get_running_loop()
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        exchange.begun_s = exchange.sent_s = loop.time()
        exchange.sent_bytes = len(exchange.to_send())
        delay_s = self.delay_s(loop.time(), self.number)
        self.number += 1
        loop.call_later(0.001 if delay_s is None else delay_s, self._end, exchange, delay_s is None)

    def _end(self, exchange: Carried, failed: bool) -> None:
        exchange.done_s = asyncio.get_running_loop().time()
        if failed:
            exchange.error = NetworkError("ConnectionReset", "it was reset")
        else:
            exchange.answer = Answer(200, b"answer")
            exchange.received_bytes = 6
        exchange.ended()
        self.busy -= 1
        if self.on_room is not None:
            self.on_room()


class Content:
    """What one made-up call sends."""

    action = "encrypt"

    def __init__(self, judged: Judged = GOOD) -> None:
        self._judged = judged

    def request(self) -> bytes:
        return b"request"

    def judge(self, answer: Answer) -> Judged:
        return self._judged


@dataclass
class Contents:
    """The same content for every call."""

    judged: Judged = GOOD

    def next(self) -> Content:
        return Content(self.judged)


@dataclass
class Range:
    """Everything around a model, on the virtual loop that is running."""

    served: Served
    retry: RetryPolicy = RetryPolicy(max_attempts=1)
    warmup_s: float = 0.0
    calls: list[Call] = field(default_factory=list)
    lateness: Lateness = field(default_factory=Lateness)
    contents: Contents = field(default_factory=Contents)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.flights = Flights(
            self.served,
            record=self.calls.append,
            retry=self.retry,
            warmup_s=self.warmup_s,
            clock=loop.time,
            uniform=lambda: 0.5,
        )
        self.flights.zero_s = loop.time()
