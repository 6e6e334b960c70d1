"""Makes the calls of a load test in this process, on its own event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from batchkms.errors import RunStopped
from batchkms.loadtest.call import Call
from batchkms.loadtest.dials import Dials
from batchkms.loadtest.flights import Connections, Flights
from batchkms.loadtest.generator import STEP_LATE_SHARE, Generator, Lateness
from batchkms.loadtest.models import ClosedModel, Contents, Model, OpenModel
from batchkms.loadtest.plan import Plan
from batchkms.loadtest.runrecord import ConnectionsRecord, GeneratorRecord
from batchkms.loadtest.schedule import Schedule
from batchkms.loadtest.share import WHOLE, Share


class PooledConnections(Connections, Protocol):
    """Connections that can be counted."""

    @property
    def open_connections(self) -> int:
        """How many are open now."""


class OwnCaller:
    """Makes the calls of a plan, or a `share` of them.

    `watch` sees how the process does, `lateness` what its calls were late by.
    """

    def __init__(
        self,
        plan: Plan,
        connections: PooledConnections,
        contents: Contents,
        *,
        dials: Dials,
        share: Share = WHOLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lateness = Lateness()
        self.watch = Generator(self.lateness, limit_s=plan.lag_limit_s, clock=clock)
        self._plan = plan
        self._dials = dials
        self._connections = connections
        self._contents = contents
        self._share = share
        self._clock = clock
        self._flights = Flights(connections, retry=plan.retry, warmup_s=plan.warmup_s, clock=clock)
        self._model: Model | None = None
        self._stopped = False
        self._warmup: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return self._flights.under_way

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return self._connections.open_connections

    @property
    def lag_now_s(self) -> float:
        """How late the event loop is just now."""
        return self.watch.lag_now_s

    @property
    def blocked_s(self) -> float:
        """For how long calls were due that no connection could be had for."""
        return self.lateness.blocked_s

    def begin(
        self, zero_s: float, record: Callable[[Call], None], fail: Callable[[RunStopped], None]
    ) -> None:
        """The first call is due at this time of the clock; `record` is given all that end."""
        self._flights.zero_s = zero_s
        self._flights.record = record
        self.watch.begin()
        if self._plan.warmup_s:
            self._warmup = asyncio.create_task(self._end_warmup())

    async def attack(self, schedule: Schedule | None) -> None:
        """Makes the calls of a schedule, or those of the closed model, until all have ended."""
        if self._stopped:
            return
        if schedule is not None:
            self._model = self._open_model(schedule, self.lateness, offset_s=0.0)
        else:
            self._model = ClosedModel(
                self._flights,
                self._contents,
                concurrency=self._share.of_number(self._plan.concurrency),
                duration_s=self._plan.duration_s,
            )
        await self._model.run()

    async def step(self, schedule: Schedule, *, offset_s: float) -> bool:
        """Makes the calls of one step of a search; whether it kept up with them."""
        if self._stopped:
            return True
        lateness = Lateness()
        watch = Generator(
            lateness, limit_s=self._plan.lag_limit_s, share=STEP_LATE_SHARE, clock=self._clock
        )
        watch.begin()
        self._model = self._open_model(schedule, lateness, offset_s=offset_s)
        await self._model.run()
        watch.end()
        self.lateness.add(lateness)
        return not watch.faults(closed=False)

    def stop(self) -> None:
        """Begins no more calls; those under way end. Nothing is begun after it."""
        self._stopped = True
        if self._model is not None:
            self._model.stop()

    def settled_s(self) -> float:
        """Every call that was due before this moment has ended and was recorded."""
        flights = self._flights
        elapsed_s = max(0.0, self._clock() - flights.zero_s)
        next_s = elapsed_s if self._model is None else self._model.next_due_s
        oldest_s = flights.oldest_s
        return min(elapsed_s, next_s, math.inf if oldest_s is None else oldest_s)

    async def end(self) -> None:
        """Watches no more: the figures are final."""
        self.watch.end()
        if self._warmup is not None:
            self._warmup.cancel()

    def connections(self) -> ConnectionsRecord:
        """The connections that were made."""
        return self._dials.record()

    def generator(self) -> GeneratorRecord:
        """How the process did."""
        return self.watch.record()

    def faults(self, *, closed: bool) -> list[str]:
        """Why the figures are not the server's, in sentences; empty if they are."""
        return self.watch.faults(closed=closed)

    def notes(self) -> list[str]:
        """What is worth knowing, though the figures are the server's."""
        return self.watch.notes()

    def _open_model(self, schedule: Schedule, lateness: Lateness, *, offset_s: float) -> OpenModel:
        return OpenModel(
            self._flights,
            self._contents,
            schedule,
            lateness=lateness,
            grace_s=self._plan.grace_s,
            offset_s=offset_s,
            share=self._share,
        )

    async def _end_warmup(self) -> None:
        """What it did until then is no more part of the figures than the calls are."""
        left_s = self._flights.zero_s + self._plan.warmup_s - self._clock()
        await asyncio.sleep(max(0.0, left_s))
        self.lateness.reset()
        self.watch.begin()
