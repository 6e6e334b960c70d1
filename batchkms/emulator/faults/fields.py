"""What one field of a fault rule may hold: pure functions from what was written to a value."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_CALL = 1_000_000_000
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)"


class BadField(ValueError):
    """A value that a field does not take; the text says what it takes."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Numbers of calls, both ends included; the first call is 1, `last` None is without end."""

    first: int
    last: int | None

    def __contains__(self, number: int) -> bool:
        return number >= self.first and (self.last is None or number <= self.last)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer is held back, in seconds: `fixed`, `uniform` or `exponential`.

    `least_s` is the fixed time, the lower end, or the mean; `most_s` is the upper end.
    """

    shape: str
    least_s: float
    most_s: float

    def draw_s(self, chance: random.Random) -> float:
        """One latency of this distribution."""
        if self.shape == "uniform":
            return chance.uniform(self.least_s, self.most_s)
        if self.shape == "exponential":
            return -self.least_s * math.log(1.0 - chance.random())
        return self.least_s


def text(value: Any) -> str:
    """A text that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise BadField("takes a text that is not empty")


def texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them."""
    listed = value if isinstance(value, list) and value else [value]
    try:
        return tuple(text(item) for item in listed)
    except BadField:
        raise BadField("takes a text or a list of texts") from None


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A whole number within bounds, as a number or a text of digits."""

    def parse(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value, re.ASCII):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise BadField(f"takes a whole number from {least:,} to {most:,}")

    return parse


def calls(value: Any) -> Calls:
    """`3`, `10-20` or `10-`: which of the calls that the rule is about, counted from 1."""
    match = re.fullmatch(r"([0-9]{1,9})(?:(-)([0-9]{1,9})?)?", str(value), re.ASCII)
    if match and not isinstance(value, bool):
        first = int(match[1])
        last = None if match[2] and not match[3] else int(match[3] or first)
        if first >= 1 and (last is None or last >= first):
            return Calls(first, last)
    raise BadField("takes the number of a call such as 3, or a range such as 10-20 or 10-")


def probability(value: Any) -> float:
    """A number over 0 and up to 1, as a number or a text."""
    written = isinstance(value, str) and re.fullmatch(r"[0-9]*\.?[0-9]+", value, re.ASCII)
    if written or (isinstance(value, int | float) and not isinstance(value, bool)):
        share = float(value)
        if 0 < share <= 1:
            return share
    raise BadField("takes a number over 0 and up to 1, such as 0.05")


def duration(value: Any) -> float:
    """`100ms`, `1s`, `2m` or `1h`; the result is in seconds."""
    match = re.fullmatch(_DURATION, value, re.ASCII) if isinstance(value, str) else None
    if match and (seconds := float(match[1]) * _UNITS_S[match[2]]) > 0:
        return seconds
    raise BadField("takes a time such as 100ms, 1s or 2m")


def latency(value: Any) -> Latency:
    """`100ms`, `uniform:50ms-200ms` or `exponential:100ms` (its mean)."""
    shape, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    try:
        if not colon:
            return Latency("fixed", duration(value), 0.0)
        if shape == "exponential":
            return Latency(shape, duration(rest), 0.0)
        least, dash, most = rest.partition("-")
        if shape == "uniform" and dash and duration(least) <= duration(most):
            return Latency(shape, duration(least), duration(most))
    except BadField:
        pass
    raise BadField("takes 100ms, uniform:50ms-200ms or exponential:100ms")


def quota(value: Any) -> int | None:
    """Calls a second from now on, or `none` for no limit."""
    if value == "none":
        return None
    try:
        return whole(1, 1_000_000)(value)
    except BadField:
        raise BadField("takes calls a second from 1 to 1,000,000, or none") from None


def one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    """One of some words."""

    def parse(value: Any) -> str:
        if value in names:
            return str(value)
        raise BadField(f"takes one of {', '.join(names)}")

    return parse
