"""A load test cut into blocks of time: what its figures vary by, told from the test itself.

Calls that are near in time share what the server did at the time, so that ten thousand of them
are not ten thousand independent measurements. A block is counted as one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchkms.latency import bucket_of, highest_of
from batchkms.loadtest.call import OK, Call

BLOCKS = 20
"""Few enough that each is long compared with what calls have in common, enough for a variance."""

FEWEST_BLOCKS = 8
FEWEST_CALLS = 100
"""A test with fewer says nothing of how far it varies."""

FIRST_WINDOW_S = 0.125
MOST_WINDOWS = 240
_MOST_CORRELATION = 0.9


@dataclass(slots=True)
class Cell:
    """The calls that were due in one stretch of time; latencies in buckets of a thousandth."""

    calls: int = 0
    sent: int = 0
    from_schedule: Counter[int] = field(default_factory=Counter)
    from_send: Counter[int] = field(default_factory=Counter)
    by_class: Counter[str] = field(default_factory=Counter)

    def add(self, other: Cell) -> None:
        """Counts all that another one has."""
        self.calls += other.calls
        self.sent += other.sent
        self.from_schedule.update(other.from_schedule)
        self.from_send.update(other.from_send)
        self.by_class.update(other.by_class)


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard error of a figure and the degrees of freedom that it was estimated with."""

    error: float
    freedom: float


class Blocks:
    """Counts the calls of one test. Memory is bounded, as windows get longer with the test."""

    def __init__(self) -> None:
        self.window_s = FIRST_WINDOW_S
        self._windows: dict[int, Cell] = {}

    def count(self, call: Call) -> None:
        """Counts one call, where it was due."""
        cell = self._window(call.scheduled)
        cell.calls += 1
        cell.by_class[call.outcome] += 1
        cell.from_schedule[bucket_of(_us(call.done - call.scheduled))] += 1
        if call.sent is not None:
            cell.sent += 1
            cell.from_send[bucket_of(_us(call.done - call.sent))] += 1

    def cells(self) -> list[Cell]:
        """The blocks, of about the same time each: BLOCKS of them, or fewer of a short test."""
        if not self._windows:
            return []
        first, last = min(self._windows), max(self._windows)
        length = last - first + 1
        number = min(BLOCKS, length)
        blocks = [Cell() for _ in range(number)]
        for at, cell in self._windows.items():
            blocks[(at - first) * number // length].add(cell)
        return blocks

    def rates(self) -> list[float]:
        """Calls per second that ended well, in each block of whole windows."""
        if len(self._windows) < 3:
            return []
        # The first window and the last one need not be full.
        first, last = min(self._windows) + 1, max(self._windows) - 1
        length = last - first + 1
        number = min(BLOCKS, length)
        sums, widths = [0] * number, [0] * number
        for at in range(first, last + 1):
            block = (at - first) * number // length
            widths[block] += 1
            if at in self._windows:
                sums[block] += self._windows[at].by_class[OK]
        return [each / width / self.window_s for each, width in zip(sums, widths, strict=True)]

    def _window(self, seconds: float) -> Cell:
        while (number := int(seconds / self.window_s)) >= MOST_WINDOWS:
            before, self._windows = self._windows, {}
            self.window_s *= 2
            for old, cell in before.items():
                self._windows.setdefault(old // 2, Cell()).add(cell)
        found = self._windows.get(number)
        if found is None:
            found = self._windows[number] = Cell()
        return found


class Distribution:
    """One latency of a test: its values in each block and in all of them."""

    def __init__(self, blocks: Sequence[Counter[int]]) -> None:
        self._blocks = [block for block in blocks if block]
        together: Counter[int] = Counter()
        for block in self._blocks:
            together.update(block)
        self._buckets = sorted(together)
        self._sums: list[int] = []
        total = 0
        for bucket in self._buckets:
            total += together[bucket]
            self._sums.append(total)
        self.total = total

    @property
    def blocks(self) -> int:
        """How many blocks have any value."""
        return len(self._blocks)

    def at(self, share: float) -> float:
        """The quantile at a share, in ms; the least value below 0, infinity above 1."""
        if share > 1 or not self.total:
            return math.inf
        # A share may be minus infinity, where nothing is known of it.
        wanted = math.ceil(max(0.0, share) * self.total - 1e-9)
        low, high = 0, len(self._sums) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._sums[middle] < wanted else (low, middle)
        return highest_of(self._buckets[low]) / 1000

    def spread(self, share: float) -> Spread:
        """How uncertain it is which share of all calls is at or below that quantile."""
        limit = bucket_of(int(self.at(share) * 1000 + 0.5))
        below = [sum(n for bucket, n in block.items() if bucket <= limit) for block in self._blocks]
        return ratio_spread(below, [block.total() for block in self._blocks], share)

    def interval(self, share: float, t: float, spread: Spread) -> tuple[float, float]:
        """Between which values the quantile is, in ms, at `t` standard errors to each side."""
        return self.at(share - t * spread.error), self.at(share + t * spread.error)


def ratio_spread(parts: Sequence[int], wholes: Sequence[int], share: float) -> Spread:
    """The standard error of a share from how it varies between blocks.

    It is never taken to be less than that of independent calls with this share.
    """
    total, number = sum(wholes), len(wholes)
    if number < 2 or not total:
        return Spread(math.inf, 1.0)
    mean = sum(parts) / total
    left = [part - mean * whole for part, whole in zip(parts, wholes, strict=True)]
    variance = number / (number - 1) * sum(each * each for each in left) / total**2
    return _spread(variance, left, at_least=share * (1 - share) / total)


def mean_spread(values: Sequence[float]) -> Spread:
    """The standard error of the mean of the blocks' values."""
    number = len(values)
    if number < 2:
        return Spread(math.inf, 1.0)
    mean = math.fsum(values) / number
    left = [value - mean for value in values]
    variance = math.fsum(each * each for each in left) / (number - 1) / number
    return _spread(variance, left)


def _spread(variance: float, left: Sequence[float], *, at_least: float = 0.0) -> Spread:
    """The spread of a mean with this variance, were the blocks independent of each other.

    That of a process in which each block takes over a part of the one before (AR(1)) is larger.
    """
    alike = correlation(left)
    larger = variance * (1 + alike) / (1 - alike)
    return Spread(math.sqrt(max(larger, at_least)), len(left) - 1.0)


def correlation(left: Sequence[float]) -> float:
    """How much each block takes over from the one before, 0 to 0.9.

    `left` are differences from the mean. The plain estimate is too small for few blocks, by
    (1 + 3 r) / n (Kendall 1954), which is made up for.
    """
    around = sum(each * each for each in left)
    if not around:
        return 0.0
    plain = sum(one * after for one, after in zip(left, left[1:], strict=False)) / around
    return min(max(0.0, plain + (1 + 3 * plain) / len(left)), _MOST_CORRELATION)


def _us(seconds: float) -> int:
    return max(0, int(seconds * 1_000_000 + 0.5))
