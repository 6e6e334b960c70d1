"""What one of several processes makes of a load test: every so-and-so-manieth of its calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """The things number `first`, `first + of`, `first + 2 * of`, …, counted from 0."""

    first: int = 0
    of: int = 1

    def of_number(self, whole: int) -> int:
        """How many of so many things are its own; the shares of all make the whole."""
        return len(range(self.first, whole, self.of))

    def of_round(self, things: Sequence[T]) -> list[T]:
        """Its own of things that go round and round, as far as they do not come again.

        Where they do not come out evenly it has all of them in another order, so that each is
        there as often as any other in the end.
        """
        length = len(things)
        turns = length // math.gcd(length, self.of) if length else 0
        return [things[(self.first + turn * self.of) % length] for turn in range(turns)]


WHOLE = Share()
"""All of it: one process makes the test."""
