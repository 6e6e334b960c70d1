"""What the steps of a search have shown: which rates hold, which fail, and where to look next."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from batchkms.loadtest.steps import Step

LEAST = 1.0
"""Calls per second. Below that, a step has too few calls to show anything."""

GROWTH = 3.0
"""The factor from one rate to the next as long as nothing is known."""

_GUESSES = 0.97, 1.02, 0.955
"""Where a limit is looked for, around what the service gave when it was over its limit: jitter of
the network makes calls bunch, so that a strict limit is not quite reached."""

_TELLING = 40.0
"""What a service gave in a second is no measure of its limit if one call more or less matters."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the steps at one rate came to."""

    rate: float
    held: int
    failed: int
    held_s: float
    clear: bool
    refused: bool
    invalid: int

    @property
    def holds(self) -> bool:
        """Whether the rate is believed to hold: most of its steps did."""
        return self.held > self.failed and not (self.clear and self.held < 2 * self.failed + 1)

    @property
    def fails(self) -> bool:
        """Whether the rate is believed not to hold, though perhaps not for sure."""
        return self.failed > 0 and not self.holds

    @property
    def too_fast(self) -> bool:
        """Whether it is more than the generator can do."""
        return self.invalid >= 2 and not self.held and not self.failed

    @property
    def perhaps_too_fast(self) -> bool:
        """Whether the generator could not do it the first time."""
        return self.invalid == 1 and not self.held and not self.failed


class Evidence:
    """All steps so far, and what they show about the limit."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = list(steps)
        by_rate: dict[float, list[Step]] = {}
        for step in self.steps:
            by_rate.setdefault(step.rate, []).append(step)
        self.tallies = [_tally(rate, by_rate[rate]) for rate in sorted(by_rate)]
        self._high = next((each for each in self.tallies if each.fails), None)
        self._ceiling = next((each for each in self.tallies if each.fails or each.too_fast), None)

    @property
    def high(self) -> Tally | None:
        """The lowest rate that failed."""
        return self._high

    @property
    def ceiling(self) -> Tally | None:
        """The lowest rate that failed, or that was more than the generator can do."""
        return self._ceiling

    @property
    def low(self) -> Tally | None:
        """The highest rate below it that held."""
        ceiling = self.ceiling
        rates = [each for each in self.tallies if ceiling is None or each.rate < ceiling.rate]
        return next((each for each in reversed(rates) if each.holds), None)

    @property
    def goodput(self) -> float | None:
        """What the service gave when it was over its limit, by the last step that shows it."""
        shown = (step for step in reversed(self.steps) if step.valid and step.clear)
        known = (step.goodput for step in shown if step.goodput)
        return next(known, None)

    @property
    def doubtful(self) -> bool:
        """Whether another step has to say whether the lowest rate that failed really does.

        One failure that is not clear is not enough, nor are two if the service gave more before.
        """
        high = self.high
        if high is None or high is not self.ceiling or high.clear:
            return False
        enough = 3 if high.refused and (self.goodput or 0.0) > high.rate else 2
        return high.failed < enough or high.failed == high.held

    @property
    def above_goodput(self) -> bool:
        """Whether more held than the service gave at its limit: for a while, a burst can."""
        low, goodput = self.low, self.goodput
        return low is not None and goodput is not None and low.rate > goodput >= _TELLING

    def guess(self) -> float | None:
        """A rate near what the service gave that is between the two and new; None if none is."""
        ceiling, low, goodput = self.ceiling, self.low, self.goodput
        if ceiling is None or goodput is None:
            return None
        least = max(LEAST, low.rate * 1.004 if low else 0.0)
        # The last one is for hiccups on the way, which make calls bunch even more.
        shares = _GUESSES if ceiling.refused else _GUESSES[:2]
        guesses = (share * goodput for share in shares)
        return next((each for each in guesses if least <= each <= ceiling.rate * 0.996), None)

    def between(self) -> float:
        """The rate in the middle between the two; there has to be a ceiling."""
        ceiling, low = self.ceiling, self.low
        highest = ceiling.rate if ceiling else math.inf
        return math.sqrt(low.rate * highest) if low else max(LEAST, highest / GROWTH)


def _tally(rate: float, steps: list[Step]) -> Tally:
    valid = [step for step in steps if step.valid]
    failed = [step for step in valid if not step.held]
    return Tally(
        rate=rate,
        held=len(valid) - len(failed),
        failed=len(failed),
        held_s=sum(step.asked_s for step in valid if step.held),
        clear=any(step.clear for step in failed),
        refused=any(step.errors for step in failed),
        invalid=len(steps) - len(valid),
    )
