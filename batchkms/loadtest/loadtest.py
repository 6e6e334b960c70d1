"""One load test from its first call to its record: the model, the clock around it, what is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol

from batchkms.errors import KmsError, OutputError, RunStopped
from batchkms.loadtest.call import Call
from batchkms.loadtest.caller import Caller
from batchkms.loadtest.findmax import MaxRate, find_max
from batchkms.loadtest.plan import Plan
from batchkms.loadtest.schedule import Schedule, Stage
from batchkms.loadtest.slowindows import Judge
from batchkms.loadtest.statistics import Statistics
from batchkms.loadtest.steps import Step, StepCounter

log = logging.getLogger(__name__)

State = Literal["finished", "interrupted", "aborted"]

TICK_S = 0.25
"""How often results are handed to the disk and windows are judged."""

RENEW_EVERY_S = 5.0
"""How often credentials are asked for; those of a role are renewed well before they end."""

COUNTED_AT_ONCE = 256
"""So many calls are counted in one go, in half a millisecond; else they wait for the next tick."""

HEAD_START_S = 0.05
"""From the begin to the first call, so that nothing of the begin makes it late."""


class CallSink(Protocol):
    """Where calls are kept; a `CallFile` does."""

    def write(self, call: Call) -> None:
        """Takes one, without waiting. Raises OutputError."""

    async def flush(self) -> None:
        """Brings them to the disk. Raises OutputError."""


class LoadTest:
    """Runs a plan once. `statistics`, `judge` and `caller` have the figures, meanwhile too.

    `renew` gives the caller fresh credentials. `calls` keeps every call, where one is wanted.
    """

    def __init__(
        self,
        plan: Plan,
        caller: Caller,
        *,
        calls: CallSink | None = None,
        renew: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.caller = caller
        self.statistics = Statistics()
        self.judge = Judge(plan.slos, plan.slo_window_s, begin_s=plan.warmup_s)
        self.started_at = 0.0
        self.max_rate: MaxRate | None = None
        self.state: State = "finished"
        self._step_rate: float | None = None
        self._calls = calls
        self._renew = renew
        self._clock = clock
        self._zero_s = 0.0
        self._stopped_s: float | None = None
        self._step: StepCounter | None = None
        self._uncounted: list[Call] = []
        self._broken: RunStopped | None = None

    @property
    def elapsed_s(self) -> float:
        """Since the first call was due."""
        return max(0.0, self._clock() - self._zero_s)

    async def run(self) -> None:
        """Until every call has ended. Raises what ended the run, if anything did: RunStopped."""
        self._zero_s = self._clock() + HEAD_START_S
        self.started_at = time.time() + HEAD_START_S
        self.caller.begin(self._zero_s, self._record, self.fail)
        try:
            async with self._ticking():
                if self.plan.find_from is not None:
                    self.max_rate = await find_max(
                        self._measure, start=self.plan.find_from, most=self.plan.find_most
                    )
                elif self.state == "finished":
                    await self.caller.attack(self.plan.schedule)
        finally:
            await self.caller.end()
            self._count()
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
        return self.caller.faults(closed=self.plan.closed)

    def asked_by(self, seconds: float) -> int:
        """How many calls were asked for by this time; in the closed model, those begun."""
        if self.plan.schedule is not None:
            return self.plan.schedule.due_by(seconds)
        ended = self.statistics.calls + self.statistics.warmup_calls + len(self._uncounted)
        return ended + self.caller.under_way

    async def _measure(self, rate: float, seconds: float) -> Step:
        """Makes calls at one rate for some time, over the connections that are there."""
        self._step_rate = rate
        begin_s = self.elapsed_s + HEAD_START_S
        step = self._step = StepCounter(self.plan.slos, rate=rate, begin_s=begin_s, asked_s=seconds)
        schedule = Schedule([Stage(seconds, rate, rate)])
        kept_up = True
        if self.state == "finished":
            kept_up = await self.caller.step(schedule, offset_s=begin_s)
        self._count()
        self._step = None
        if self.state != "finished":
            # It was cut short, and shows nothing.
            return step.nothing()
        return step.step(took_s=self.elapsed_s - begin_s, valid=kept_up)

    def _record(self, call: Call) -> None:
        self._uncounted.append(call)
        if len(self._uncounted) >= COUNTED_AT_ONCE:
            self._count()

    def _count(self) -> None:
        """Counts and keeps the calls that have ended since the last time."""
        calls, self._uncounted = self._uncounted, []
        self.statistics.count_all(calls)
        if self.plan.slos or self._step is not None:
            for call in calls:
                if not call.warmup:
                    self.judge.count(call)
                    if self._step is not None:
                        self._step.count(call)
        if self._calls is not None:
            try:
                for call in calls:
                    self._calls.write(call)
            except OutputError as error:
                self._fail_to_keep(error)

    @asynccontextmanager
    async def _ticking(self) -> AsyncIterator[None]:
        """Meanwhile results get to the disk, windows are judged, credentials renewed."""
        tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._keep_renewing())]
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
            self._count()
            self.judge.settled(self.caller.settled_s())
            self._abort_if_broken()
            if self._calls is not None:
                try:
                    await self._calls.flush()
                except OutputError as error:
                    self._fail_to_keep(error)

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

    def _fail_to_keep(self, error: OutputError) -> None:
        # Whatever else ends a run, the calls until its very end are kept.
        self._calls = None
        self.fail(error)

    def fail(self, error: RunStopped) -> None:
        """Ends the run for this error, which `run` then raises."""
        if self._broken is None:
            self._broken = error
        self._stop("aborted")

    def _stop(self, state: State) -> None:
        if self.state == "finished":
            self.state = state
            self._stopped_s = self.elapsed_s
        self.caller.stop()
