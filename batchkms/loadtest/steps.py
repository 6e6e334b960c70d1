"""One step of the search for the highest rate: what it showed, counted from its calls."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.slo import Slo, parse_slos
from batchkms.loadtest.slowindows import SloFigures

DEFAULT_SLOS = parse_slos(["throttled==0", "errors<0.1%"])
"""What has to hold where the user says nothing else."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step at one rate. Rates in calls per second, `measured` by SLO as `SloRecord` has it.

    `took_s` is the time that it cost until its last call had ended; `asked_s` if it is 0.
    `held` says that all SLOs did and the service kept up, `valid` that the generator was able to
    do what was asked of it.
    `goodput` is what the service gave while it was over its limit, where that can be told;
    `lasting` says that errors were no moment's matter but went on to the end.
    """

    rate: float
    asked_s: float
    held: bool
    valid: bool
    calls: int
    errors: int
    took_s: float = 0.0
    measured: dict[str, float] = {}
    goodput: float | None = None
    lasting: bool = False

    @property
    def spent_s(self) -> float:
        """The time that it cost."""
        return max(self.asked_s, self.took_s)

    @property
    def clear(self) -> bool:
        """Whether a step that did not hold leaves no room for noise."""
        slow = self.goodput is not None and self.goodput < _QUEUEING * self.rate
        return self.lasting or self.errors > max(2, _MANY * self.calls) or slow


_MANY = 0.05
"""With such a share of errors, nobody will call it noise."""

_QUEUEING = 0.9
"""A service that ends less than this share of the calls in their time has a growing queue."""


_JAM_S, _JAM = 0.1, 0.025
"""So much longer may calls take at the end of a step than at its begin, in seconds and as a share
of the step: that of a service which is asked for a thirtieth more than it can do."""


class _Mean:
    """A mean of seconds; 0 of none."""

    def __init__(self) -> None:
        self._sum_s = 0.0
        self._count = 0

    def count(self, seconds: float) -> None:
        self._sum_s += seconds
        self._count += 1

    @property
    def mean(self) -> float:
        return self._sum_s / self._count if self._count else 0.0


class StepCounter:
    """Counts the calls of one step. `begin_s` is when its first call was due, in their time."""

    def __init__(self, slos: Sequence[Slo], *, rate: float, begin_s: float, asked_s: float) -> None:
        self._slos = tuple(slos) or DEFAULT_SLOS
        self._rate = rate
        self._begin_s = begin_s
        self._asked_s = asked_s
        self._figures = SloFigures(self._slos)
        # Whole seconds, counted back from the end: what happens once a second is in each of them.
        self._ok = [0] * (int(asked_s) + 1)
        self._errors = [0] * (int(asked_s) + 1)
        self._last_done_s = begin_s
        self._early, self._late = _Mean(), _Mean()

    def count(self, call: Call) -> None:
        """Counts one call that ended."""
        self._figures.count(call)
        self._last_done_s = max(self._last_done_s, call.done)
        left_s = self._begin_s + self._asked_s - call.scheduled
        if left_s <= self._asked_s / 4:
            self._late.count(call.done - call.scheduled)
        elif left_s >= self._asked_s * 3 / 4:
            self._early.count(call.done - call.scheduled)
        back = min(max(0, int(left_s)), len(self._ok) - 1)
        (self._ok if call.outcome == OK else self._errors)[back] += 1

    def nothing(self) -> Step:
        """A step without any call, as which one that was interrupted counts."""
        return Step(
            rate=self._rate, asked_s=self._asked_s, held=False, valid=True, calls=0, errors=0
        )

    def step(self, *, took_s: float, valid: bool) -> Step:
        """The step, once all its calls have ended."""
        verdicts = {slo.text: slo.judge(self._figures) for slo in self._slos}
        held = all(verdict.held for verdict in verdicts.values()) and self._kept_up()
        calls = self._figures.calls
        return Step(
            rate=self._rate,
            asked_s=self._asked_s,
            took_s=took_s,
            held=held,
            valid=valid,
            calls=calls,
            errors=calls - self._figures.by_class[OK],
            measured={text: verdict.measured for text, verdict in verdicts.items()},
            goodput=None if held or not calls else self._goodput(),
            lasting=self._lasting(),
        )

    def _kept_up(self) -> bool:
        """Whether calls do not queue longer and longer: no rate is held that ends in a jam."""
        grown_s = self._late.mean - self._early.mean
        return grown_s <= max(_JAM_S, _JAM * self._asked_s)

    def _refused_seconds(self) -> int:
        """The whole seconds after the one with the first error; 0 if there was none."""
        return max((back for back, errors in enumerate(self._errors) if errors), default=0)

    def _lasting(self) -> bool:
        after = self._refused_seconds()
        return after >= 2 and sum(1 for errors in self._errors[:after] if errors) * 2 >= after

    def _goodput(self) -> float | None:
        after = self._refused_seconds()
        if after:
            return sum(self._ok[:after]) / after
        if any(self._errors):
            return None
        # No errors, but too slow: what came in had to queue.
        span_s = max(self._asked_s, self._last_done_s - self._begin_s)
        return sum(self._ok) / span_s
