"""The calls under way: begun on a connection, judged, tried again if asked for, recorded."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from batchkms.errors import verdict_for
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.transport import Answer
from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.judging import Judged, classified
from batchkms.retry import RetryPolicy

NEVER_SENT = "NeverSent"
"""The code of a call that no connection was free for until the run had ended."""


class Connections(Protocol):
    """What carries the calls; a `Pool` does."""

    on_room: Callable[[], None] | None

    @property
    def room(self) -> int:
        """How many exchanges can be started now."""

    def start(self, exchange: Carried) -> None:
        """Starts one."""


class Content(Protocol):
    """What one call sends, and how its answer is judged; a `Prepared` does."""

    @property
    def action(self) -> str:
        """`encrypt`, `decrypt`, …."""

    def request(self) -> bytes:
        """The whole request, signed now."""

    def judge(self, answer: Answer) -> Judged:
        """What came of it."""


class Flights:
    """Begins calls, and gives each to `record` when it has ended.

    `on_room` is called whenever there is room for another one, `zero_s` is the time of `clock`
    that `Call`s count from. `retry` with one attempt tries nothing again.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        retry: RetryPolicy,
        record: Callable[[Call], None] = lambda call: None,
        warmup_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.on_room: Callable[[], None] = lambda: None
        self.record = record
        self.zero_s = 0.0
        self.clock = clock
        self._connections = connections
        self._retry = retry
        self._warmup_s = warmup_s
        self._uniform = uniform
        self._under_way: dict[_Flight, None] = {}
        self._again: deque[_Flight] = deque()
        self._waiting: dict[_Flight, asyncio.TimerHandle] = {}
        self._landed: asyncio.Future[None] | None = None
        self._tries_again = retry.max_attempts > 1
        connections.on_room = self._room

    @property
    def under_way(self) -> int:
        """Calls that were begun and have not ended, those that wait for their next try too."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many calls can be begun at once."""
        return 0 if self._again else self._connections.room

    @property
    def oldest_s(self) -> float | None:
        """When the oldest of them was due, in seconds from the first; None if there is none."""
        return next(iter(self._under_way)).due_s if self._under_way else None

    def begin(self, due_s: float, content: Content) -> None:
        """Begins one call that was due at this time, in seconds from the first. Needs room."""
        flight = _Flight(self, due_s, content)
        self._under_way[flight] = None
        self._connections.start(flight)

    def never_sent(self, due_s: float, action: str) -> None:
        """Records a call that there was no room for to the end."""
        self.record(
            Call(
                scheduled=due_s,
                sent=None,
                done=self.clock() - self.zero_s,
                action=action,
                outcome=str(verdict_for(NEVER_SENT).error_class),
                bytes=0,
                code=NEVER_SENT,
                attempts=1,
                warmup=due_s < self._warmup_s,
            )
        )

    async def landed(self) -> None:
        """Waits until no call is under way."""
        if self._under_way:
            self._landed = asyncio.get_running_loop().create_future()
            await self._landed

    def begin_anew(self) -> None:
        """Tries calls again from now on, if that was asked for at all."""
        self._tries_again = self._retry.max_attempts > 1

    def give_up_waiting(self) -> None:
        """Tries nothing again until `begin_anew`: what waits for that ends as it last failed."""
        self._tries_again = False
        waiting, self._waiting = self._waiting, {}
        for handle in waiting.values():
            handle.cancel()
        flights = [*waiting, *self._again]
        self._again.clear()
        for flight in flights:
            flight.end()

    def _start_again(self, flight: _Flight) -> None:
        flight.reset()
        self._connections.start(flight)

    def _room(self) -> None:
        if self._again:
            for _ in range(min(len(self._again), self._connections.room)):
                self._start_again(self._again.popleft())
            if not self.room:
                return
        self.on_room()

    def _try_again(self, flight: _Flight, judged: Judged, now: float) -> bool:
        if not self._tries_again or judged.code is None:
            return False
        delay_s = self._retry.delay_s(
            verdict_for(judged.code),
            attempts=flight.attempts,
            elapsed_s=now - self.zero_s - flight.due_s,
            uniform=self._uniform,
        )
        if delay_s is None:
            return False
        loop = asyncio.get_running_loop()
        self._waiting[flight] = loop.call_later(delay_s, self._waited, flight)
        return True

    def _waited(self, flight: _Flight) -> None:
        del self._waiting[flight]
        if self.room:
            self._start_again(flight)
        else:
            self._again.append(flight)

    def _all_landed(self) -> None:
        """No call is under way any more."""
        if self._landed is not None and not self._landed.done():
            self._landed.set_result(None)


class _Flight(Carried):
    """One call from when it is begun until it has ended: the exchange of each of its attempts."""

    __slots__ = ("attempts", "bytes", "content", "due_s", "first_sent_s", "flights", "judged")

    def __init__(self, flights: Flights, due_s: float, content: Content) -> None:
        super().__init__()
        self.flights = flights
        self.due_s = due_s
        self.content = content
        self.attempts = 0
        self.bytes = 0
        self.first_sent_s: float | None = None
        self.judged: Judged | None = None

    def to_send(self) -> bytes:
        return self.content.request()

    def ended(self) -> bool:
        """An attempt has ended; whether its connection may be used again."""
        self.attempts += 1
        self.bytes += self.sent_bytes + self.received_bytes
        if self.first_sent_s is None:
            self.first_sent_s = self.sent_s
        if self.answer is not None:
            judged = self.content.judge(self.answer)
        elif self.error is not None:
            judged = classified(self.error)
        else:
            raise RuntimeError("an exchange ended with neither an answer nor an error")
        self.judged = judged
        if judged.outcome == OK or not self.flights._try_again(self, judged, self.done_s):
            self.end()
        else:
            # Any number may wait for their next try, and an answer may be long.
            self.answer = self.error = None
        return judged.in_step

    def end(self) -> None:
        """Records it as its last attempt ended."""
        flights, judged, due_s, sent_s = self.flights, self.judged, self.due_s, self.first_sent_s
        if judged is None:
            raise RuntimeError("a call cannot end before its first attempt has")
        zero_s = flights.zero_s
        # By position: by name it takes twice as long, and this is done for every call.
        call = Call(
            due_s,
            None if sent_s is None else sent_s - zero_s,
            self.done_s - zero_s,
            self.content.action,
            judged.outcome,
            self.bytes,
            judged.code,
            judged.request_id,
            self.attempts,
            due_s < flights._warmup_s,
        )
        del flights._under_way[self]
        flights.record(call)
        if not flights._under_way:
            flights._all_landed()
