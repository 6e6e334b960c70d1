"""How the generator itself did: what it was late by, and whether the figures are the server's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from batchkms.latency import Latencies
from batchkms.loadtest.runrecord import GeneratorRecord

LATE_AFTER_S = 0.01
"""A call that is begun later than this after it was due is late."""

LATE_SHARE = 0.01
"""When more calls than this are late, or the event loop is as often, the figures are not the
server's: the 99th percentile is then one of the generator."""

STEP_LATE_SHARE = 0.05
"""The same for a short step of a search, which a single hiccup of this machine must not decide."""

BUSY_SHARE = 0.95
"""A generator that takes more of a core than this cannot make more calls."""

BLOCKED_BUSY_SHARE = 0.9
"""If it took more than this while calls waited for connections, it was itself what they waited
for: answers that nobody reads hold their connections."""

PROBE_EVERY_S = 0.01


class Lateness:
    """What calls were late by, though nothing but the generator itself was in the way.

    Beside it, for how long calls were due that no connection could be had for, and how much CPU
    time the generator took meanwhile.
    """

    def __init__(self, cpu_clock: Callable[[], float] = time.process_time) -> None:
        self.cpu_clock = cpu_clock
        self.reset()

    def reset(self) -> None:
        """Forgets all that was counted."""
        self.calls = Latencies()
        self.blocked_s = 0.0
        self.blocked_cpu_s = 0.0

    def add(self, other: Lateness) -> None:
        """Counts all that another one has counted."""
        self.calls.add(other.calls)
        self.blocked_s += other.blocked_s
        self.blocked_cpu_s += other.blocked_cpu_s

    def count(self, late_s: float) -> None:
        """A call was begun, so long after it could have been."""
        self.calls.count(late_s)

    def blocked(self, seconds: float, cpu_s: float) -> None:
        """For so long calls were due that no connection could be had for."""
        self.blocked_s += seconds
        self.blocked_cpu_s += cpu_s


class Generator:
    """Watches the process while a run goes on: its CPU time and the lag of its event loop.

    `limit_s` is what counts as late, and `share` how many may be. CPU time is that of the
    whole process.
    """

    def __init__(
        self,
        lateness: Lateness,
        *,
        limit_s: float = LATE_AFTER_S,
        share: float = LATE_SHARE,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.lateness = lateness
        self.lag = Latencies()
        self.lag_now_s = 0.0
        self._limit_s = limit_s
        self._share = share
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._began = clock(), cpu_clock()
        self._ended = self._began
        self._handle: asyncio.TimerHandle | None = None
        self._planned_s = 0.0

    def begin(self) -> None:
        """Watches from now on; forgets what was before, as when a warm-up has ended."""
        self.end()
        self.lag = Latencies()
        self._began = self._clock(), self._cpu_clock()
        self._plan(self._began[0])

    def end(self) -> None:
        """Watches no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._ended = self._clock(), self._cpu_clock()

    @property
    def elapsed_s(self) -> float:
        """How long it has watched."""
        return (self._ended[0] if self._handle is None else self._clock()) - self._began[0]

    @property
    def cpu_share(self) -> float:
        """How much of a core the process took."""
        cpu_s = (self._ended[1] if self._handle is None else self._cpu_clock()) - self._began[1]
        elapsed_s = self.elapsed_s
        return cpu_s / elapsed_s if elapsed_s > 0 else 0.0

    def record(self) -> GeneratorRecord:
        """The figures."""
        late = self.lateness.calls
        late_p99_ms, lag_p99_ms = late.percentile_ms(99), self.lag.percentile_ms(99)
        return GeneratorRecord(
            cpu_share=round(self.cpu_share, 4),
            late=late.share_over(self._limit_s),
            late_p99_ms=late_p99_ms,
            late_max_ms=late.max_ms,
            lag_p99_ms=lag_p99_ms,
            lag_max_ms=self.lag.max_ms,
            blocked_s=round(self.lateness.blocked_s, 6),
        )

    def faults(self, *, closed: bool) -> list[str]:
        """Why the figures are not the server's, in sentences; empty if they are."""
        record, limit_ms = self.record(), self._limit_s * 1000
        lateness, faults = self.lateness, []
        if record.late > self._share:
            faults.append(
                f"the generator began {record.late:.1%} of the calls more than {limit_ms:g} ms "
                f"late (the worst {record.late_max_ms:,.0f} ms), with nothing else in the way"
            )
        if self.lag.share_over(self._limit_s) > self._share:
            faults.append(
                f"the generator's event loop lagged by {record.lag_p99_ms:,.0f} ms at the 99th "
                f"percentile ({record.lag_max_ms:,.0f} ms at the worst), which latencies contain"
            )
        busy_share = lateness.blocked_cpu_s / lateness.blocked_s if lateness.blocked_s else 0.0
        if lateness.blocked_s > self._share * self.elapsed_s and busy_share > BLOCKED_BUSY_SHARE:
            faults.append(
                f"calls waited for connections for {lateness.blocked_s:,.1f} s, in which the "
                f"generator took {busy_share:.0%} of a core: with more CPU it would have had the "
                "answers, and so the connections, sooner"
            )
        if closed and record.cpu_share > BUSY_SHARE:
            faults.append(
                f"the generator took {record.cpu_share:.0%} of a core: the server may give more"
            )
        return faults

    def notes(self) -> list[str]:
        """What is worth knowing, though the figures are the server's."""
        record, notes = self.record(), []
        worst_ms = max(record.late_max_ms, record.lag_max_ms)
        if worst_ms > 10 * self._limit_s * 1000:
            notes.append(
                f"the generator was held up for {worst_ms:,.0f} ms at the worst: the largest "
                "latencies may be its own"
            )
        if record.blocked_s:
            notes.append(
                f"for {record.blocked_s:,.1f} s calls were due that all connections were busy for "
                "(--max-connections)"
            )
        return notes

    def _plan(self, now: float) -> None:
        self._planned_s = now + PROBE_EVERY_S
        self._handle = asyncio.get_running_loop().call_later(PROBE_EVERY_S, self._probe)

    def _probe(self) -> None:
        now = self._clock()
        self.lag_now_s = max(0.0, now - self._planned_s)
        self.lag.count(self.lag_now_s)
        # Each probe that could not be made meanwhile would have seen its part of the lag.
        for missed in range(1, 1 + int(self.lag_now_s / PROBE_EVERY_S)):
            self.lag.count(self.lag_now_s - missed * PROBE_EVERY_S)
        self._plan(now)
