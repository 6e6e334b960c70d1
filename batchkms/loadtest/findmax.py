"""The search for the highest rate that holds the SLOs: what to measure next, and what it shows.

It grows by threes until a step does not hold, narrows that down, and then holds the highest rate
that did for longer. What one step shows may be noise: a failure that is not clear is repeated
before it decides anything, and a rate is believed for what it did in most of its steps.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from batchkms.loadtest.evidence import GROWTH, LEAST, Evidence, Tally
from batchkms.loadtest.maxrate import LimitedBy, MaxRate
from batchkms.loadtest.steps import Step, StepCounter

__all__ = ["MaxRate", "Step", "StepCounter", "find_max"]

Measure = Callable[[float, float], Awaitable[Step]]
"""Runs one step: at so many calls per second, for so many seconds, until its last call ended."""

_GAP = 1.055
"""The highest rate that held and the lowest that failed are near enough when they are so near."""

_NEAR = 1.05
"""What was held for long is the limit when it is so near to what the service gave at its limit."""

_WIDE = 1.2
"""With such a gap, to narrow it is worth more than to hold what is known to hold."""

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
    if last.perhaps_too_fast and (ceiling is None or last.rate < ceiling.rate):
        return Next(last.rate, lengths.grow_s)  # A hiccup of this machine, perhaps.
    if ceiling is None:
        return _upwards(low, last, most, lengths)
    # What holds has to be held for longer, and that must not be what is cut short.
    spare_s = math.inf
    if low is not None:
        spare_s = (
            left_s - _SETTLE_S - min(_hold_left_s(low, lengths), _reserve_s(evidence, lengths))
        )
    again = Next(ceiling.rate, min(evidence.steps[-1].asked_s, lengths.near_s))
    if evidence.doubtful and again.seconds <= spare_s:
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
    rate = low.rate * GROWTH
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
    near = low is not None and ceiling.rate < _WIDE * low.rate
    return Next(evidence.between(), lengths.near_s if near else lengths.far_s)


def _reserve_s(evidence: Evidence, lengths: Lengths) -> float:
    """What narrowing must leave for holding: nothing if there is a gap and a guess to jump it."""
    ceiling, low = evidence.ceiling, evidence.low
    if ceiling is None or low is None or ceiling.too_fast or ceiling.rate <= _WIDE * low.rate:
        return 2 * lengths.near_s
    return 0.0 if evidence.guess() is not None else lengths.near_s


def _hold(low: Tally, lengths: Lengths) -> Next | None:
    left_s = _hold_left_s(low, lengths)
    return Next(low.rate, min(lengths.near_s, max(2.0, left_s))) if left_s > 0.1 else None


def _hold_left_s(low: Tally, lengths: Lengths) -> float:
    return max(0.0, lengths.hold_s - low.held_s)


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
    return _found(Evidence(steps), most, lengths)


def _found(evidence: Evidence, most: float | None, lengths: Lengths) -> MaxRate:
    low, high = evidence.low, evidence.high
    rate = low.rate if low else 0.0
    at_rate = [step for step in evidence.steps if low and step.rate == rate and step.valid]
    held = [step for step in at_rate if step.held]
    return MaxRate(
        rate=rate,
        lowest_failed=high.rate if high else None,
        held_steps=len(held),
        # All of them: leaving out the steps that failed would make the errors look rarer.
        held_calls=sum(step.calls for step in at_rate),
        held_errors=sum(step.errors for step in at_rate),
        held_s=sum(step.asked_s for step in held),
        unheld_steps=len(at_rate) - len(held),
        failed_steps=high.failed if high else 0,
        limited_by=_limited_by(evidence, most),
        goodput=evidence.goodput,
        confirmed=sum(step.asked_s for step in held) >= lengths.hold_s / 2,
        steps=evidence.steps,
    )


def _limited_by(evidence: Evidence, most: float | None) -> LimitedBy:
    ceiling, low = evidence.ceiling, evidence.low
    if ceiling is not None:
        return "generator" if ceiling.too_fast else "server"
    if low is not None and most is not None and low.rate >= most:
        return "most"
    return "generator" if any(not step.valid for step in evidence.steps) else "time"
