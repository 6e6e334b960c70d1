"""When which call is due: a pure function of the stages, whatever the server does."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time with a rate in calls per second that is constant or a linear ramp."""

    duration_s: float
    from_rate: float
    to_rate: float

    @property
    def calls(self) -> float:
        """How many calls are due in it; a fraction is carried to the next one."""
        return self.duration_s * (self.from_rate + self.to_rate) / 2

    def calls_by(self, seconds: float) -> float:
        """How many calls are due in its first seconds."""
        slope = (self.to_rate - self.from_rate) / self.duration_s
        return seconds * (self.from_rate + slope * seconds / 2)

    def time_of(self, calls: float) -> float:
        """When so many calls are due, in seconds from its begin: the inverse of `calls_by`."""
        slope = (self.to_rate - self.from_rate) / self.duration_s
        # The form of the quadratic formula that loses no digits when the slope is small or zero.
        root = math.sqrt(max(0.0, self.from_rate**2 + 2 * slope * calls))
        return 2 * calls / (self.from_rate + root) if self.from_rate + root else 0.0


class Schedule:
    """The stages of a run, one after the other. The first call is due at 0.

    Call n is due when the stages have asked for n calls; `total` is how many are due before the
    end. Raises ValueError for no stages, or stages without any call.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._begins_s = [0.0, *accumulate(stage.duration_s for stage in stages)]
        self._calls_before = [0.0, *accumulate(stage.calls for stage in stages)]
        self.duration_s = self._begins_s[-1]
        # A call that is due at the very end belongs to what would come after it.
        self.total = math.ceil(self._calls_before[-1] - 1e-6)
        if self.total < 1:
            raise ValueError("the stages ask for no call at all")

    def time_of(self, number: int) -> float:
        """When call `number` is due, counted from 0, in seconds from the begin."""
        at = bisect_right(self._calls_before, number) - 1
        # Stages without calls are passed over: several then begin at the same count.
        at = min(at, len(self.stages) - 1)
        return self._begins_s[at] + self.stages[at].time_of(number - self._calls_before[at])

    def due_by(self, seconds: float) -> int:
        """How many calls are due by this time, that of 0 included; `total` at the most."""
        if seconds < 0:
            return 0
        if seconds >= self.duration_s:
            return self.total
        asked = self._asked(seconds)
        number = min(self.total, math.floor(asked + 1e-9) + 1)
        # In a stage without calls, the next one is not due before that has ended.
        return number - 1 if self.time_of(number - 1) > seconds + 1e-6 else number

    def rate_at(self, seconds: float) -> float:
        """Calls per second that are asked for at this time; 0 before and after the run."""
        if not 0 <= seconds < self.duration_s:
            return 0.0
        at = bisect_right(self._begins_s, seconds) - 1
        stage, since = self.stages[at], seconds - self._begins_s[at]
        return stage.from_rate + (stage.to_rate - stage.from_rate) * since / stage.duration_s

    def mean_rate(self, begin_s: float = 0.0, end_s: float | None = None) -> float:
        """Calls per second that are asked for from then to then, by default in the whole run."""
        last_s = self.duration_s if end_s is None else min(end_s, self.duration_s)
        span_s = last_s - begin_s
        return (self._asked(last_s) - self._asked(begin_s)) / span_s if span_s > 0 else 0.0

    def _asked(self, seconds: float) -> float:
        """How many calls the stages ask for until then, with fractions."""
        at = min(bisect_right(self._begins_s, seconds), len(self.stages)) - 1
        return self._calls_before[at] + self.stages[at].calls_by(seconds - self._begins_s[at])
