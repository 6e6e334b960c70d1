"""When calls are begun: by a schedule whatever the server does, or as fast as it answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from batchkms.loadtest.flights import Content, Flights
from batchkms.loadtest.generator import Lateness
from batchkms.loadtest.schedule import Schedule
from batchkms.loadtest.share import WHOLE, Share
from batchkms.loadtest.timer import Timer, exact_timer

AT_ONCE = 32
"""So many calls are begun in one turn of the event loop; then answers are read."""

NEVER_SENT_AT_ONCE = 200
"""So many are recorded as never sent in one turn: it takes two milliseconds or three."""


class Contents(Protocol):
    """Makes the content of the next call; a `Workload` does."""

    def next(self) -> Content:
        """What the next call sends."""


class Model(Protocol):
    """Begins the calls of a run."""

    @property
    def next_due_s(self) -> float:
        """When the next call is due that was not begun, counted as its `Call` will be."""

    async def run(self) -> None:
        """Until all calls have ended."""

    def stop(self) -> None:
        """Begins no more; those under way end."""


class OpenModel:
    """Begins each call when it is due, whatever became of the others.

    A call that is due waits only where there is no connection for it and none can be opened;
    nothing is kept of it meanwhile, so that memory stays the same however long a server stalls.
    When the schedule is over, such calls have `grace_s` left; then they are recorded as never
    sent, and so are they when the run is stopped: what was due is part of the figures.
    `offset_s` is when the schedule begins, counted from the first call of the run. `share` says
    which of its calls are begun here.
    """

    def __init__(
        self,
        flights: Flights,
        contents: Contents,
        schedule: Schedule,
        *,
        lateness: Lateness,
        grace_s: float,
        offset_s: float = 0.0,
        share: Share = WHOLE,
        timer: Callable[[Callable[[], None]], Timer] = exact_timer,
    ) -> None:
        self._flights = flights
        self._contents = contents
        self._schedule = schedule
        self._lateness = lateness
        self._grace_s = grace_s
        self._offset_s = offset_s
        self._make_timer = timer
        self._timer: Timer | None = None
        # Of several processes each makes every so-and-so-manieth call, and all count alike.
        self._next, self._stride = share.first, share.of
        self._due_s = schedule.time_of(self._next)
        self._total = schedule.total
        self._blocked: tuple[float, float] | None = None
        self._room_at = 0.0
        self._all_begun: asyncio.Future[None] | None = None
        self._turn_asked = False

    @property
    def next_due_s(self) -> float:
        """When the next call is due that was not begun; never, if all were."""
        return self._offset_s + self._due_s if self._next < self._total else math.inf

    async def run(self) -> None:
        """Until every call of the schedule has ended."""
        flights = self._flights
        flights.begin_anew()
        self._all_begun = asyncio.get_running_loop().create_future()
        self._timer = self._make_timer(self._turn)
        flights.on_room = self._room
        try:
            self._timer.at(flights.zero_s + self._offset_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_given_up_s()):
                    await self._all_begun
        finally:
            self._timer.close()
            flights.on_room = lambda: None
        if self._next < self._total:
            await self._give_up()
        await flights.landed()

    def stop(self) -> None:
        """Begins no more. Those that were due by now are recorded; those under way end."""
        since_s = self._flights.clock() - self._flights.zero_s - self._offset_s
        self._total = min(self._total, max(self._next, self._schedule.due_by(since_s)))
        self._flights.give_up_waiting()
        self._finish()

    def _until_given_up_s(self) -> float:
        end_s = self._flights.zero_s + self._offset_s + self._schedule.duration_s
        return max(0.0, end_s - self._flights.clock()) + self._grace_s

    def _turn(self) -> None:
        """Begins what is due, as far as there is room."""
        self._turn_asked = False
        flights, lateness = self._flights, self._lateness
        began_s = flights.zero_s + self._offset_s
        room = flights.room
        for _ in range(AT_ONCE):
            if self._next >= self._total:
                self._finish()
                return
            now, due_s = flights.clock(), began_s + self._due_s
            if due_s > now:
                if self._timer is not None:
                    self._timer.at(due_s)
                return
            if not room:
                if self._blocked is None:
                    self._blocked = now, self._lateness.cpu_clock()
                return
            # What waited for a connection is not the generator's fault.
            lateness.count(now - max(due_s, self._room_at))
            room -= 1
            self._next += self._stride
            flights.begin(self._offset_s + self._due_s, self._contents.next())
            self._due_s = self._schedule.time_of(self._next)
        # Many are due: answers that came meanwhile have their turn first.
        self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _room(self) -> None:
        if self._blocked is not None:
            self._unblocked()
            self._turn()

    def _unblocked(self) -> None:
        if self._blocked is not None:
            since_s, cpu_s = self._blocked
            self._room_at = self._flights.clock()
            self._lateness.blocked(self._room_at - since_s, self._lateness.cpu_clock() - cpu_s)
            self._blocked = None

    def _finish(self) -> None:
        if self._all_begun is not None and not self._all_begun.done():
            self._all_begun.set_result(None)

    async def _give_up(self) -> None:
        """Records what was due and there was never room for."""
        self._unblocked()
        self._flights.give_up_waiting()
        while self._next < self._total:
            last = min(self._next + NEVER_SENT_AT_ONCE * self._stride, self._total)
            for number in range(self._next, last, self._stride):
                due_s = self._offset_s + self._schedule.time_of(number)
                self._next += self._stride
                self._flights.never_sent(due_s, self._contents.next().action)
            # Answers are read meanwhile, and calls brought to the disk.
            await asyncio.sleep(0)


class ClosedModel:
    """Keeps so many calls under way, each begun when another one has ended, for some time."""

    def __init__(
        self,
        flights: Flights,
        contents: Contents,
        *,
        concurrency: int,
        duration_s: float,
    ) -> None:
        self._flights = flights
        self._contents = contents
        self._concurrency = concurrency
        self._duration_s = duration_s
        self._stopped = asyncio.Event()
        self._turn_asked = False
        self.begun = 0

    @property
    def next_due_s(self) -> float:
        """Never: a call is due when it is begun."""
        return math.inf

    async def run(self) -> None:
        """Until the time is over and every call has ended."""
        self._flights.begin_anew()
        # Not before the moment that all times count from: uvloop's timers may be early by 1 ms.
        left_s = self._flights.zero_s - self._flights.clock()
        await asyncio.sleep(left_s + 0.002)
        self._flights.on_room = self._ask_for_turn
        self._turn()
        try:
            async with asyncio.timeout(self._duration_s):
                await self._stopped.wait()
        except TimeoutError:
            self.stop()
        self._flights.on_room = lambda: None
        await self._flights.landed()

    def stop(self) -> None:
        """Begins no more; those under way end."""
        self._stopped.set()
        self._flights.give_up_waiting()

    def _ask_for_turn(self) -> None:
        # The call that has just ended is still counted as under way where this is asked for.
        if not self._turn_asked:
            self._turn_asked = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        if self._stopped.is_set():
            return
        flights, contents = self._flights, self._contents
        for _ in range(min(self._concurrency - flights.under_way, flights.room)):
            self.begun += 1
            flights.begin(flights.clock() - flights.zero_s, contents.next())
