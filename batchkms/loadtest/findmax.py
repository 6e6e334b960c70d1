"""The search for the highest rate that holds the SLOs: what to measure next, and what it shows.

It grows by threes until a step does not hold, narrows that down, and then holds the highest rate
that did for longer. What one step shows may be noise: a failure that is not clear is repeated
before it decides anything, and a rate is believed for what it did in most of its steps.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from batchkms.loadtest.maxrate import LimitedBy, MaxRate
from batchkms.loadtest.steps import Step, StepCounter

__all__ = ["MaxRate", "Step", "StepCounter", "find_max"]

Measure = Callable[[float, float], Awaitable[Step]]
"""Runs one step: at so many calls per second, for so many seconds, until its last call ended."""

LEAST = 1.0
"""Calls per second. Below that, a step has too few calls to show anything."""

_GROWTH = 3.0
_GAP = 1.055
"""The highest rate that held and the lowest that failed are near enough when they are so near."""

_BELOW, _ABOVE = 0.975, 1.025
"""Where a limit is looked for, around what the service gave when it was over its limit: jitter of
the network makes calls bunch, so that a strict limit is not quite reached."""

_NEAR = 1.05
"""What was held for long is the limit when it is so near to what the service gave at its limit."""

_COARSE_GAP = 1.3
"""Where the generator is the limit, how near the answer comes to it is not worth the time."""

_SETTLE_S = 1.2
"""After a failure: windows of a second are over, and a bucket of tokens has little in it."""

_BUDGET_S = 45.0
"""What the lengths of steps are made for; they grow with the budget."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long steps take, in seconds: growing, far from the limit, near it, and held in all."""

    grow_s: float
    far_s: float
    near_s: float
    hold_s: float

    @classmethod
    def within(cls, budget_s: float) -> Lengths:
        """The lengths that fit."""
        # A strict window of a second shows nothing in less than that.
        scale = max(0.7, budget_s / _BUDGET_S)
        return cls(2.0 * scale, 3.0 * scale, 5.0 * scale, 20.0 * scale)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the steps at one rate came to."""

    rate: float
    held: int
    failed: int
    held_s: float
    clear: bool
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
    def doubtful(self) -> bool:
        """Whether another step has to say whether it fails: no clear failure, nor twice."""
        return self.fails and not self.clear and (self.failed < 2 or self.failed == self.held)

    @property
    def too_fast(self) -> bool:
        """Whether it is more than the generator can do."""
        return self.invalid >= 2 and not self.held and not self.failed


class Evidence:
    """All steps so far, and what they show about the limit."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = list(steps)
        by_rate: dict[float, list[Step]] = {}
        for step in self.steps:
            by_rate.setdefault(step.rate, []).append(step)
        self.tallies = [_tally(rate, by_rate[rate]) for rate in sorted(by_rate)]

    @property
    def high(self) -> Tally | None:
        """The lowest rate that failed."""
        return next((each for each in self.tallies if each.fails), None)

    @property
    def ceiling(self) -> Tally | None:
        """The lowest rate that failed, or that was more than the generator can do."""
        return next((each for each in self.tallies if each.fails or each.too_fast), None)

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
    def above_goodput(self) -> bool:
        """Whether more held than the service gave at its limit: for a while, a burst can."""
        low, goodput = self.low, self.goodput
        return low is not None and goodput is not None and low.rate > goodput

    def guess(self) -> float | None:
        """A rate near what the service gave that is between the two and new; None if none is."""
        ceiling, low, goodput = self.ceiling, self.low, self.goodput
        if ceiling is None or goodput is None:
            return None
        least = max(LEAST, low.rate * 1.004 if low else 0.0)
        guesses = (_BELOW * goodput, _ABOVE * goodput)
        return next((each for each in guesses if least <= each <= ceiling.rate * 0.996), None)

    def between(self) -> float:
        """The rate in the middle between the two; there has to be a ceiling."""
        ceiling, low = self.ceiling, self.low
        highest = ceiling.rate if ceiling else math.inf
        return math.sqrt(low.rate * highest) if low else max(LEAST, highest / _GROWTH)


@dataclass(frozen=True, slots=True)
class Next:
    """What to measure next."""

    rate: float
    seconds: float


def next_step(
    evidence: Evidence, *, start: float, most: float | None, lengths: Lengths, left_s: float
) -> Next | None:
    """What to measure next, or None when it is known or `left_s` is not enough for more."""
    wanted = _wanted(evidence, start=start, most=most, lengths=lengths, left_s=left_s)
    if wanted is None:
        return None
    seconds = min(wanted.seconds, left_s)
    if seconds < min(2.0, wanted.seconds):
        return None
    # A whole number of calls, so that the next step continues their beat.
    return Next(wanted.rate, max(1, round(seconds * wanted.rate)) / wanted.rate)


def _wanted(
    evidence: Evidence, *, start: float, most: float | None, lengths: Lengths, left_s: float
) -> Next | None:
    ceiling, low = evidence.ceiling, evidence.low
    if not evidence.steps:
        return Next(min(start, most or start), lengths.grow_s)
    last = next(each for each in evidence.tallies if each.rate == evidence.steps[-1].rate)
    if last.invalid == 1 and not last.held and not last.failed:
        return Next(last.rate, lengths.grow_s)  # A hiccup of this machine, perhaps.
    if ceiling is None:
        return _upwards(low, last, most, lengths)
    # What holds has to be held for longer, and that must not be what is cut short.
    spare_s = math.inf
    if low is not None:
        reserve_s = min(_hold_left_s(low, lengths), 2 * lengths.near_s)
        spare_s = left_s - _SETTLE_S - reserve_s
    again = Next(ceiling.rate, min(evidence.steps[-1].asked_s, lengths.near_s))
    if ceiling.doubtful and again.seconds <= spare_s:
        return again
    if low is not None and evidence.above_goodput:
        near = evidence.goodput is not None and low.rate <= _NEAR * evidence.goodput
        if (held := _hold(low, lengths)) is not None or near:
            return held
    narrower = _narrower(evidence, lengths)
    if narrower is not None and narrower.seconds <= spare_s:
        return narrower
    return _hold(low, lengths) if low is not None else None


def _upwards(low: Tally | None, last: Tally, most: float | None, lengths: Lengths) -> Next | None:
    """As long as nothing failed: three times as much, or what was asked for at the most."""
    if low is None:
        return Next(last.rate, lengths.grow_s)
    if most is not None and low.rate >= most:
        return _hold(low, lengths)
    rate = low.rate * _GROWTH
    return Next(rate if most is None else min(most, rate), lengths.grow_s)


def _narrower(evidence: Evidence, lengths: Lengths) -> Next | None:
    """A step between the highest rate that held and the lowest that failed; None if it is done."""
    ceiling, low = evidence.ceiling, evidence.low
    if ceiling is None or (low is None and ceiling.rate <= LEAST):
        return None
    gap = _GAP if not ceiling.too_fast else _COARSE_GAP
    if low is not None and ceiling.rate <= low.rate * gap:
        return None
    if (guess := evidence.guess()) is not None:
        return Next(guess, lengths.near_s)
    near = low is not None and ceiling.rate < 1.2 * low.rate
    return Next(evidence.between(), lengths.near_s if near else lengths.far_s)


def _hold(low: Tally, lengths: Lengths) -> Next | None:
    left_s = _hold_left_s(low, lengths)
    return Next(low.rate, min(lengths.near_s, max(2.0, left_s))) if left_s > 0.1 else None


def _hold_left_s(low: Tally, lengths: Lengths) -> float:
    return max(0.0, lengths.hold_s - low.held_s)


def _tally(rate: float, steps: list[Step]) -> Tally:
    valid = [step for step in steps if step.valid]
    failed = [step for step in valid if not step.held]
    return Tally(
        rate=rate,
        held=len(valid) - len(failed),
        failed=len(failed),
        held_s=sum(step.asked_s for step in valid if step.held),
        clear=any(step.clear for step in failed),
        invalid=len(steps) - len(valid),
    )


async def find_max(
    measure: Measure,
    *,
    start: float = 50.0,
    most: float | None = None,
    budget_s: float = _BUDGET_S,
    settle: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> MaxRate:
    """Searches for the highest rate that holds, in about `budget_s` seconds.

    Connections should stay open between steps. After a step that failed `settle` is awaited for
    a moment, so that queues and windows of the service are empty. A step without any call, as
    after an interruption, ends the search. `most` is the rate to stop at.
    """
    lengths = Lengths.within(budget_s)
    steps: list[Step] = []
    left_s = budget_s
    while True:
        pause_s = _SETTLE_S if steps and not steps[-1].held else 0.0
        planned = next_step(
            Evidence(steps), start=start, most=most, lengths=lengths, left_s=left_s - pause_s
        )
        if planned is None:
            break
        if pause_s:
            await settle(pause_s)
        step = await measure(planned.rate, planned.seconds)
        if not step.calls:
            break
        steps.append(step)
        left_s -= pause_s + step.spent_s
    return _found(Evidence(steps), most)


def _found(evidence: Evidence, most: float | None) -> MaxRate:
    low, high = evidence.low, evidence.high
    rate = low.rate if low else 0.0
    at_rate = [step for step in evidence.steps if low and step.rate == rate and step.valid]
    held = [step for step in at_rate if step.held]
    return MaxRate(
        rate=rate,
        lowest_failed=high.rate if high else None,
        held_steps=len(held),
        held_calls=sum(step.calls for step in held),
        held_errors=sum(step.errors for step in held),
        held_s=sum(step.asked_s for step in held),
        unheld_steps=len(at_rate) - len(held),
        failed_steps=high.failed if high else 0,
        limited_by=_limited_by(evidence, most),
        steps=evidence.steps,
    )


def _limited_by(evidence: Evidence, most: float | None) -> LimitedBy:
    ceiling, low = evidence.ceiling, evidence.low
    if ceiling is not None:
        return "generator" if ceiling.too_fast else "server"
    if low is not None and most is not None and low.rate >= most:
        return "most"
    return "generator" if any(not step.valid for step in evidence.steps) else "time"
