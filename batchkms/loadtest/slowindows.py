"""SLOs while a load test runs: over the whole of it, or over each window of some seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from batchkms.latency import Latencies, SparseLatencies
from batchkms.loadtest.call import Call
from batchkms.loadtest.runrecord import SloRecord
from batchkms.loadtest.slo import Slo

CHECK_EVERY_S = 10.0
"""How often the run so far is judged, where it is to be aborted and there are no windows."""


class WindowLatencies(SparseLatencies):
    """Latencies as exact as `Latencies`, in the memory that a window of few calls needs."""

    BITS = 11

    __slots__ = ("sum_s",)

    def __init__(self) -> None:
        super().__init__()
        self.sum_s = 0.0

    def count(self, seconds: float) -> None:
        """Counts one latency."""
        super().count(seconds)
        self.sum_s += max(0.0, seconds)

    @property
    def mean_ms(self) -> float:
        """The mean in milliseconds; 0 if nothing was counted."""
        return self.sum_s / self.total * 1000 if self.total else 0.0

    @property
    def max_ms(self) -> float:
        """The largest value in milliseconds, exact."""
        return self.max_us / 1000


class SloFigures:
    """What some SLOs need of the calls that they are judged on, and no more."""

    def __init__(
        self,
        slos: Sequence[Slo],
        make: Callable[[], Latencies | WindowLatencies] = WindowLatencies,
    ) -> None:
        latencies = [slo for slo in slos if slo.kind == "latency"]
        self._schedules = any(not slo.from_send for slo in latencies)
        self._sends = any(slo.from_send for slo in latencies)
        self.by_class: Counter[str] = Counter()
        self.from_schedule = make()
        self.from_send = make()
        self.sent = 0
        self.last_sent_s = 0.0
        self.due_in_s = 0.0, 0.0
        """When calls were due in it, from when to when; for rates, set before it is judged."""

    def count(self, call: Call) -> None:
        """Counts one call."""
        self.by_class[call.outcome] += 1
        if self._schedules:
            self.from_schedule.count(call.done - call.scheduled)
        if call.sent is not None:
            self.sent += 1
            self.last_sent_s = max(self.last_sent_s, call.sent)
            if self._sends:
                self.from_send.count(call.done - call.sent)

    @property
    def calls(self) -> int:
        """All calls, whatever came of them."""
        return self.by_class.total()

    @property
    def sent_rate(self) -> float:
        """Calls per second that were sent, over the time that calls were due in."""
        begin_s, end_s = self.due_in_s
        span_s = max(end_s, self.last_sent_s) - begin_s
        return self.sent / span_s if span_s > 0 else 0.0


class WholeRun:
    """Judges the run as a whole; with `check_every_s` also the run so far, that often.

    What no later call can mend is judged at once. What more calls may well mend is not judged
    before the end: `ok>=1000`, or a rate that a ramp has not reached yet.
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        check_every_s: float | None = None,
        *,
        begin_s: float = 0.0,
    ) -> None:
        self.broken = False
        self.notes: list[str] = []
        self._slos = tuple(slos)
        self._figures = SloFigures(self._slos, Latencies)
        self._begin_s = begin_s
        self._every_s = check_every_s
        self._next_s = begin_s + (check_every_s or 0.0)
        self._records: list[SloRecord] = []

    def count(self, call: Call) -> None:
        """Counts one call that ended."""
        if self._slos and not call.warmup:
            self._figures.count(call)

    def settled(self, until_s: float) -> None:
        """Judges the run so far, as far as it can be. Without any call so far it is not."""
        is_time = self._every_s is not None and until_s >= self._next_s
        if is_time and self._every_s is not None:
            self._next_s += self._every_s * (1 + (until_s - self._next_s) // self._every_s)
        if self.broken or not self._figures.calls:
            return
        self.broken = any(slo.lost(self._figures) for slo in self._slos)
        if is_time and not self.broken:
            told = [slo for slo in self._slos if not slo.grows]
            self.broken = not all(slo.judge(self._figures).held for slo in told)

    def finish(self, end_s: float) -> None:
        """Judges the whole run."""
        self._figures.due_in_s = self._begin_s, end_s
        for slo in self._slos:
            verdict = slo.judge(self._figures)
            self._records.append(
                SloRecord(text=slo.text, held=verdict.held, measured=verdict.measured)
            )
        self.broken = self.broken or not all(record.held for record in self._records)

    def records(self) -> list[SloRecord]:
        """How each SLO came out."""
        return list(self._records)


@dataclass(slots=True)
class _Outcome:
    """How one SLO did in the windows so far; `worst` is None before the first one."""

    worst: float | None = None
    failed: list[float] = field(default_factory=list)


class SloWindows:
    """Judges each window by itself: the calls that were due in it, wherever they ended.

    The windows follow each other from `begin_s` on, the end of the warm-up. One without any
    call is not judged, as none was asked for in it.
    """

    def __init__(self, slos: Sequence[Slo], window_s: float, *, begin_s: float = 0.0) -> None:
        self.broken = False
        self.notes: list[str] = []
        self._slos = tuple(slos)
        self._window_s = window_s
        self._begin_s = begin_s
        self._open: dict[int, SloFigures] = {}
        self._first = 0
        self._judged = 0
        self._outcomes = [_Outcome() for _ in self._slos]

    def count(self, call: Call) -> None:
        """Counts one call that ended, in the window that it was due in."""
        if call.warmup or not self._slos:
            return
        number = max(self._first, int((call.scheduled - self._begin_s) // self._window_s))
        window = self._open.get(number)
        if window is None:
            window = self._open[number] = SloFigures(self._slos)
        window.count(call)

    def settled(self, until_s: float) -> None:
        """Judges the windows that end by this moment, and drops them."""
        while self._begins_s(self._first + 1) <= until_s:
            window = self._open.pop(self._first, None)
            if window is not None:
                self._judge(self._first, window)
            self._first += 1

    def finish(self, end_s: float) -> None:
        """Judges what is left; the last window only if it is half a window or no other was."""
        self.settled(end_s)
        for number in sorted(self._open):
            length_s = end_s - self._begins_s(number)
            if length_s < self._window_s / 2 and self._judged:
                calls = self._open[number].calls
                self.notes.append(
                    f"the last {max(0.0, length_s):.1f} s ({calls:,} "
                    f"{'call' if calls == 1 else 'calls'}) are less than half a window and were "
                    "not judged by the SLOs"
                )
            else:
                self._judge(number, self._open[number], end_s)
        self._open.clear()
        if self._slos and not self._judged:
            self.broken = True

    def records(self) -> list[SloRecord]:
        """How each SLO came out: `measured` is that of its worst window."""
        return [
            SloRecord(
                text=slo.text,
                held=self._judged > 0 and not outcome.failed,
                measured=outcome.worst or 0.0,
                windows=self._judged,
                failed_windows=list(outcome.failed),
            )
            for slo, outcome in zip(self._slos, self._outcomes, strict=True)
        ]

    def _begins_s(self, number: int) -> float:
        return self._begin_s + number * self._window_s

    def _judge(self, number: int, window: SloFigures, end_s: float | None = None) -> None:
        self._judged += 1
        window.due_in_s = self._begins_s(number), end_s or self._begins_s(number + 1)
        for slo, outcome in zip(self._slos, self._outcomes, strict=True):
            verdict = slo.judge(window)
            worst = verdict.measured if outcome.worst is None else outcome.worst
            outcome.worst = slo.worse(worst, verdict.measured)
            if not verdict.held:
                self.broken = True
                outcome.failed.append(self._begins_s(number))


class Judge:
    """Judges the SLOs of a run: over each window of `window_s`, or over the whole of it.

    All times are seconds since the run's first scheduled moment; windows begin at `begin_s`, the
    end of the warm-up. Calls of the warm-up are not counted.
    """

    def __init__(
        self, slos: Sequence[Slo], window_s: float | None = None, *, begin_s: float = 0.0
    ) -> None:
        self._by: WholeRun | SloWindows = (
            WholeRun(slos, CHECK_EVERY_S, begin_s=begin_s)
            if window_s is None
            else SloWindows(slos, window_s, begin_s=begin_s)
        )

    @property
    def broken(self) -> bool:
        """Whether an SLO did not hold so far, so that the run may be aborted; it stays true."""
        return self._by.broken

    @property
    def notes(self) -> list[str]:
        """What was left out, in sentences for the summary; complete after `finish`."""
        return self._by.notes

    def count(self, call: Call) -> None:
        """Counts one call that ended."""
        self._by.count(call)

    def settled(self, until_s: float) -> None:
        """Every call that was due before this moment has ended and was counted."""
        self._by.settled(until_s)

    def finish(self, end_s: float) -> None:
        """The run ended, and no call was due at or after this moment. Called once."""
        self._by.finish(end_s)

    def records(self) -> list[SloRecord]:
        """How each SLO came out, in the order given; to be asked after `finish`."""
        return self._by.records()
