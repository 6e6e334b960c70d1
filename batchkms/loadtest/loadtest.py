"""One load test from its first call to its record: the model, the clock around it, what is kept."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from batchkms.errors import KmsError, OutputError, RunStopped
from batchkms.kms.http1.pool import Connected
from batchkms.latency import Latencies
from batchkms.loadtest.call import Call
from batchkms.loadtest.findmax import MaxRate, find_max
from batchkms.loadtest.flights import Connections, Flights
from batchkms.loadtest.generator import LATE_AFTER_S, STEP_LATE_SHARE, Generator, Lateness
from batchkms.loadtest.models import ClosedModel, Contents, Model, OpenModel
from batchkms.loadtest.runrecord import ConnectionsRecord
from batchkms.loadtest.schedule import Schedule, Stage
from batchkms.loadtest.slo import Slo
from batchkms.loadtest.slowindows import Judge
from batchkms.loadtest.statistics import Statistics
from batchkms.loadtest.steps import Step, StepCounter
from batchkms.retry import RetryPolicy

log = logging.getLogger(__name__)

State = Literal["finished", "interrupted", "aborted"]

TICK_S = 0.25
"""How often results are handed to the disk and windows are judged."""

RENEW_EVERY_S = 5.0
"""How often credentials are asked for; those of a role are renewed well before they end."""

HEAD_START_S = 0.05
"""From the begin to the first call, so that nothing of the begin makes it late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load test does. Times in seconds, rates in calls per second.

    Open by `schedule`; closed with `concurrency` calls under way for `duration_s` where there is
    none; with `find_from` it searches for the highest rate instead, beginning there and going no
    further than `find_most`.
    `grace_s` is what calls that have no connection have left when the schedule is over.
    """

    schedule: Schedule | None = None
    concurrency: int = 64
    duration_s: float = 60.0
    find_from: float | None = None
    find_most: float | None = None
    warmup_s: float = 0.0
    slos: tuple[Slo, ...] = ()
    slo_window_s: float | None = None
    abort_on_fail: bool = False
    retry: RetryPolicy = RetryPolicy(max_attempts=1)
    lag_limit_s: float = LATE_AFTER_S
    grace_s: float = 10.0

    @property
    def closed(self) -> bool:
        """Whether calls are begun as others end."""
        return self.schedule is None and self.find_from is None


class CallSink(Protocol):
    """Where calls are kept; a `CallFile` does."""

    def write(self, call: Call) -> None:
        """Takes one, without waiting. Raises OutputError."""

    async def flush(self) -> None:
        """Brings them to the disk. Raises OutputError."""


class Dials:
    """How many connections were opened, how many there were at once, and how long that took."""

    def __init__(self) -> None:
        self.opened = 0
        self.most = 0
        self.connect = Latencies()
        self.tls = Latencies()

    def connected(self, connected: Connected, open_now: int) -> None:
        """Counts one connection; with it there are `open_now`."""
        self.opened += 1
        self.most = max(self.most, open_now)
        self.connect.count(connected.connect_s)
        if connected.tls_s is not None:
            self.tls.count(connected.tls_s)

    def record(self) -> ConnectionsRecord:
        """The figures."""
        secure = self.tls.total > 0
        return ConnectionsRecord(
            opened=self.opened,
            most=self.most,
            connect_p50_ms=self.connect.percentile_ms(50),
            connect_max_ms=self.connect.max_ms,
            tls_p50_ms=self.tls.percentile_ms(50) if secure else None,
            tls_max_ms=self.tls.max_ms if secure else None,
        )


class PooledConnections(Connections, Protocol):
    """Connections that can be counted."""

    @property
    def open_connections(self) -> int:
        """How many are open now."""


class LoadTest:
    """Runs a plan once. `statistics`, `judge` and `generator` have the figures, meanwhile too.

    `renew` gives the workload fresh credentials. `calls` keeps every call, where one is wanted.
    """

    def __init__(
        self,
        plan: Plan,
        connections: PooledConnections,
        contents: Contents,
        *,
        dials: Dials,
        calls: CallSink | None = None,
        renew: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.statistics = Statistics()
        self.judge = Judge(plan.slos, plan.slo_window_s, begin_s=plan.warmup_s)
        self.lateness = Lateness()
        self.generator = Generator(self.lateness, limit_s=plan.lag_limit_s, clock=clock)
        self.dials = dials
        self.started_at = 0.0
        self.max_rate: MaxRate | None = None
        self.state: State = "finished"
        self._step_rate: float | None = None
        self._connections = connections
        self._contents = contents
        self._calls = calls
        self._renew = renew
        self._clock = clock
        self._flights = Flights(
            connections,
            record=self._record,
            retry=plan.retry,
            warmup_s=plan.warmup_s,
            clock=clock,
        )
        self._stopped_s: float | None = None
        self._model: Model | None = None
        self._step: StepCounter | None = None
        self._broken: RunStopped | None = None

    @property
    def elapsed_s(self) -> float:
        """Since the first call was due."""
        return max(0.0, self._clock() - self._flights.zero_s)

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return self._flights.under_way

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return self._connections.open_connections

    async def run(self) -> None:
        """Until every call has ended. Raises what ended the run, if anything did: RunStopped."""
        self._flights.zero_s = self._clock() + HEAD_START_S
        self.started_at = time.time() + HEAD_START_S
        self.generator.begin()
        try:
            async with self._ticking():
                if self.plan.find_from is not None:
                    await self._search(self.plan.find_from)
                else:
                    await self._attack(self._planned_model())
        finally:
            self.generator.end()
        end_s = self._end_s()
        self.statistics.due_in_s = min(self.plan.warmup_s, end_s), end_s
        self.judge.finish(end_s)
        if self._broken is not None:
            raise self._broken

    def drain(self) -> None:
        """Begins no more calls; those under way end."""
        self._stop("interrupted")

    @property
    def total_s(self) -> float | None:
        """How long calls are begun; None while nobody knows."""
        if self.plan.find_from is not None:
            return None
        schedule = self.plan.schedule
        return self.plan.duration_s if schedule is None else schedule.duration_s

    @property
    def target_rate(self) -> float | None:
        """Calls per second that were asked for, on average; None where there is no such rate.

        Without the warm-up, and up to where the run was stopped: just as calls are counted.
        """
        if self.plan.schedule is None:
            return None
        return self.plan.schedule.mean_rate(self.plan.warmup_s, self._end_s())

    @property
    def asked_rate_now(self) -> float | None:
        """Calls per second that are asked for now; None in the closed model."""
        if self.plan.schedule is not None:
            return self.plan.schedule.rate_at(self.elapsed_s)
        return self._step_rate

    def _end_s(self) -> float:
        """Until when calls were due, in seconds from the first."""
        if self._stopped_s is not None:
            return self._stopped_s
        return self.elapsed_s if self.total_s is None else self.total_s

    def faults(self) -> list[str]:
        """Why the figures are not the server's, in sentences; empty if they are."""
        if self.max_rate is not None and self.max_rate.limited_by != "generator":
            # Steps at which the generator was not able to do what was asked decided nothing.
            return []
        return self.generator.faults(closed=self.plan.closed)

    def asked_by(self, seconds: float) -> int:
        """How many calls were asked for by this time; in the closed model, those begun."""
        if self.plan.schedule is not None:
            return self.plan.schedule.due_by(seconds)
        return self.statistics.calls + self.statistics.warmup_calls + self.under_way

    def _planned_model(self) -> Model:
        plan = self.plan
        if plan.schedule is None:
            return ClosedModel(
                self._flights,
                self._contents,
                concurrency=plan.concurrency,
                duration_s=plan.duration_s,
            )
        return self._open_model(plan.schedule, self.lateness, offset_s=0.0)

    def _open_model(self, schedule: Schedule, lateness: Lateness, *, offset_s: float) -> OpenModel:
        return OpenModel(
            self._flights,
            self._contents,
            schedule,
            lateness=lateness,
            grace_s=self.plan.grace_s,
            offset_s=offset_s,
        )

    async def _attack(self, model: Model) -> None:
        self._model = model
        if self.state == "finished":
            await model.run()

    async def _search(self, start: float) -> None:
        self.max_rate = await find_max(self._measure, start=start, most=self.plan.find_most)

    async def _measure(self, rate: float, seconds: float) -> Step:
        """Makes calls at one rate for some time, over the connections that are there."""
        lateness = Lateness()
        self._step_rate = rate
        begin_s = self.elapsed_s + HEAD_START_S
        step = self._step = StepCounter(self.plan.slos, rate=rate, begin_s=begin_s, asked_s=seconds)
        generator = Generator(
            lateness, limit_s=self.plan.lag_limit_s, share=STEP_LATE_SHARE, clock=self._clock
        )
        generator.begin()
        schedule = Schedule([Stage(seconds, rate, rate)])
        await self._attack(self._open_model(schedule, lateness, offset_s=begin_s))
        generator.end()
        self._step = None
        self.lateness.add(lateness)
        if self.state != "finished":
            # It was cut short, and shows nothing.
            return step.nothing()
        took_s = self.elapsed_s - begin_s
        return step.step(took_s=took_s, valid=not generator.faults(closed=False))

    def _record(self, call: Call) -> None:
        self.statistics.count(call)
        if not call.warmup:
            self.judge.count(call)
            if self._step is not None:
                self._step.count(call)
        if self._calls is not None and self._broken is None:
            try:
                self._calls.write(call)
            except OutputError as error:
                self.fail(error)

    @asynccontextmanager
    async def _ticking(self) -> AsyncIterator[None]:
        """Meanwhile results get to the disk, windows are judged, credentials renewed."""
        tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._keep_renewing())]
        tasks.append(asyncio.create_task(self._end_warmup()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.judge.settled(self._settled_s())
            self._abort_if_broken()
            if self._calls is not None and self._broken is None:
                try:
                    await self._calls.flush()
                except OutputError as error:
                    self.fail(error)

    def _settled_s(self) -> float:
        """Every call that was due before has ended and was counted."""
        oldest_s = self._flights.oldest_s
        next_s = self.elapsed_s if self._model is None else self._model.next_due_s
        return min(self.elapsed_s, next_s, math.inf if oldest_s is None else oldest_s)

    def _abort_if_broken(self) -> None:
        if self.plan.abort_on_fail and self.judge.broken:
            self._stop("aborted")

    async def _keep_renewing(self) -> None:
        while self._renew is not None:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._renew()
            except KmsError as error:
                log.warning("credentials could not be renewed: %s", error)

    async def _end_warmup(self) -> None:
        """What the generator did until then is no more part of the figures than the calls are."""
        if self.plan.warmup_s:
            await asyncio.sleep(self.plan.warmup_s + HEAD_START_S)
            self.lateness.reset()
            self.generator.begin()

    def fail(self, error: RunStopped) -> None:
        """Ends the run for this error, which `run` then raises."""
        if self._broken is None:
            self._broken = error
        self._stop("aborted")

    def _stop(self, state: State) -> None:
        if self.state == "finished":
            self.state = state
            self._stopped_s = self.elapsed_s
        if self._model is not None:
            with suppress(asyncio.InvalidStateError):
                self._model.stop()
