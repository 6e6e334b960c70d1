"""Whether and when to try again. Pure: time and randomness are passed in.

Two questions are kept apart. A record that failed is tried again by `RetryPolicy`, with
full-jitter exponential backoff. A service that answers nobody is the run's matter:
`OutageWatch` tells that from a few unlucky records, so that an outage never uses up the
attempts of every record of an inventory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from batchkms.errors import Verdict

OUTAGE_ROWS = 5
"""So many different rows must have failed in a row, with no answer for any, to call it an outage.
Fewer could each be at fault themselves."""

OUTAGE_AFTER_S = 1.0
"""So long must nothing have succeeded; a moment without luck is no outage."""

OUTAGE_AFTER_THROTTLED_S = 10.0
"""The same where every failure was a throttled call: the service is there, only busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a record is tried again. Times in seconds.

    `deadline_s` bounds the whole time of a record from its first attempt; no attempt is begun
    that could not start before it. `attempt_timeout_s` is what an attempt takes at the most.
    """

    max_attempts: int = 8
    base_s: float = 0.1
    cap_s: float = 10.0
    deadline_s: float = 120.0
    attempt_timeout_s: float = 10.0

    @property
    def outlasts_outage(self) -> bool:
        """Whether the attempts of a record usually last until an outage is known.

        If not, rows at fault themselves must not wait for that: while they do, no other is begun
        whose answer would tell.
        """
        steps_s = (
            min(self.cap_s, self.base_s * 2.0**step) for step in range(self.max_attempts - 1)
        )
        return any(paused_s / 2 > OUTAGE_AFTER_S for paused_s in accumulate(steps_s))

    def delay_s(
        self, verdict: Verdict, *, attempts: int, elapsed_s: float, uniform: Callable[[], float]
    ) -> float | None:
        """How long to wait after the given number of failed attempts, or None to give up.

        `uniform` gives a random number from 0 to 1, as `random.random` does. Full jitter: any
        time up to the doubled step is as likely, so that clients which failed together do not
        come back together.
        """
        if not verdict.retryable or attempts >= self.max_attempts:
            return None
        doubled_s = self.base_s * 2.0 ** min(attempts - 1, 63)
        delay_s = uniform() * min(self.cap_s, doubled_s)
        return delay_s if elapsed_s + delay_s < self.deadline_s else None


class OutageWatch:
    """Tells an outage of the service from records that fail on their own. Times in seconds.

    Any answer that is not a transient failure ends the streak, a refusal too: the service is
    there. `began_at` is the time of the streak's first failure.
    """

    def __init__(self, *, rows: int = OUTAGE_ROWS) -> None:
        self._rows = rows
        self._failed_rows: set[int] = set()
        self._began_at = 0.0
        self._entered_at: float | None = None
        self._only_throttled = True
        self._past_s = 0.0
        self.probes = 0

    @property
    def active(self) -> bool:
        """Whether there is an outage now."""
        return self._entered_at is not None

    @property
    def calm(self) -> bool:
        """Whether nothing has failed since the last answer."""
        return not self._failed_rows and self._entered_at is None

    def failed(self, row: int, now: float, *, throttled: bool = False) -> bool:
        """A row failed with a transient error. True if this makes it an outage."""
        if not self._failed_rows:
            self._began_at = now
            self._only_throttled = True
        self._failed_rows.add(row)
        self._only_throttled &= throttled
        if self.active:
            self.probes += 1
            return False
        after_s = OUTAGE_AFTER_THROTTLED_S if self._only_throttled else OUTAGE_AFTER_S
        if len(self._failed_rows) < self._rows or now - self._began_at < after_s:
            return False
        self._entered_at = now
        self.probes = 0
        return True

    def undecided_s(self, now: float) -> float:
        """How long nothing more may succeed until what fails now is an outage; 0 if it is none.

        Where the service is only busy, rows are not made to wait for that.
        """
        if self.active or self._only_throttled or len(self._failed_rows) < self._rows:
            return 0.0
        return max(0.0, OUTAGE_AFTER_S - (now - self._began_at))

    def answered(self, now: float) -> bool:
        """The service answered. True if this ends an outage."""
        self._failed_rows.clear()
        if self._entered_at is None:
            return False
        self._past_s += now - self._entered_at
        self._entered_at = None
        return True

    def lasted_s(self, now: float) -> float:
        """How long nothing has succeeded."""
        return now - self._began_at if self._failed_rows else 0.0

    def paused_s(self, now: float) -> float:
        """The time spent in outages so far, this one included; no record's deadline runs then."""
        return self._past_s + (0.0 if self._entered_at is None else now - self._entered_at)

    def probe_delay_s(self, *, base_s: float = 0.25, cap_s: float = 5.0) -> float:
        """How long to wait before the next probe."""
        return min(cap_s, base_s * 2.0 ** min(self.probes, 16))
