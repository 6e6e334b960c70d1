"""What a load test does, decided before its first call."""

from __future__ import annotations

from dataclasses import dataclass

from batchkms.loadtest.generator import LATE_AFTER_S
from batchkms.loadtest.schedule import Schedule
from batchkms.loadtest.slo import Slo
from batchkms.retry import RetryPolicy


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
