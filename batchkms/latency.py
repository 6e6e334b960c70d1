"""Latencies in a histogram of fixed memory: what a run counts them in, whatever their number.

The buckets are those of HdrHistogram: below 2,048 µs one for each microsecond, above that 1,024
for each doubling, so that a value is off by a thousandth at the most.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram


_BITS = 11
"""2,048 buckets below the first doubling, which makes three significant digits."""

LONGEST_US = 3_600_000_000
"""An hour; what took longer counts as that."""


def microseconds(seconds: float) -> int:
    """A time as it is counted: in whole microseconds, from none to an hour."""
    value_us = int(seconds * 1_000_000 + 0.5)
    if 0 <= value_us <= LONGEST_US:
        return value_us
    return 0 if value_us < 0 else LONGEST_US


def bucket_of(value_us: int, bits: int = _BITS) -> int:
    """The number of the bucket that a value belongs to. `bits` set the precision."""
    shift = value_us.bit_length() - bits
    return value_us if shift <= 0 else (shift << (bits - 1)) + (value_us >> shift)


def buckets_of(values_us: Iterable[int]) -> Counter[int]:
    """How many of these values, each from 0 to `LONGEST_US`, are in which bucket.

    In a third of the time that it takes to count them one by one.
    """
    return Counter(
        [
            value
            if (shift := value.bit_length() - _BITS) <= 0
            else (shift << (_BITS - 1)) + (value >> shift)
            for value in values_us
        ]
    )


def lowest_of(bucket: int, bits: int = _BITS) -> int:
    """The least value of a bucket, in microseconds."""
    shift = (bucket >> (bits - 1)) - 1
    return bucket if shift <= 0 else (bucket - (shift << (bits - 1))) << shift


def highest_of(bucket: int, bits: int = _BITS) -> int:
    """The largest value of a bucket, in microseconds."""
    return lowest_of(bucket + 1, bits) - 1


_BUCKETS = bucket_of(LONGEST_US) + 1


@cache
def _coarser(bits: int) -> array[int]:
    """The bucket of so many bits that each bucket is in: all of its values are."""
    return array("H", [bucket_of(lowest_of(bucket), bits) for bucket in range(_BUCKETS)])


class Latencies:
    """How often which latency was seen: 188 KB, whatever is counted.

    `max_us` is exact. Percentiles are the largest value of their bucket, as HdrHistogram gives
    them, but never above the largest value that there was.
    """

    __slots__ = ("_counts", "max_us", "sum_us", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.total = 0
        self.max_us = 0
        self.sum_us = 0

    def count(self, seconds: float) -> None:
        """Counts one latency. Below zero, as after a clock's step, counts as zero."""
        self.count_us(microseconds(seconds))

    def count_us(self, value_us: int) -> None:
        """Counts one latency of whole microseconds, from 0 to `LONGEST_US`."""
        self.total += 1
        self.sum_us += value_us
        if value_us > self.max_us:
            self.max_us = value_us
        shift = value_us.bit_length() - _BITS
        self._counts[value_us if shift <= 0 else (shift << (_BITS - 1)) + (value_us >> shift)] += 1

    def count_buckets(self, buckets: Mapping[int, int], *, sum_us: int, max_us: int) -> None:
        """Counts many latencies at once: how many there are of each `bucket_of`."""
        counts = self._counts
        for bucket, count in buckets.items():
            counts[bucket] += count
        self.total += sum(buckets.values())
        self.sum_us += sum_us
        self.max_us = max(self.max_us, max_us)

    def add(self, other: Latencies) -> Self:
        """Counts all that another one has counted, without loss; returns itself."""
        for bucket, count in other.buckets():
            self._counts[bucket] += count
        self.total += other.total
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        return self

    @classmethod
    def together(cls, parts: Iterable[Latencies]) -> Self:
        """All that several have counted."""
        made = cls()
        for part in parts:
            made.add(part)
        return made

    @classmethod
    def of_buckets(cls, buckets: Mapping[int, int], *, sum_us: int, max_us: int) -> Self:
        """The same as others whose `buckets`, `sum_us` and `max_us` these are."""
        made = cls()
        made.count_buckets(buckets, sum_us=sum_us, max_us=max_us)
        return made

    def buckets(self) -> Iterator[tuple[int, int]]:
        """The buckets that hold anything, by value, with their counts."""
        return ((bucket, count) for bucket, count in enumerate(self._counts) if count)

    @property
    def mean_ms(self) -> float:
        """The mean in milliseconds; 0 if nothing was counted."""
        return self.sum_us / self.total / 1000 if self.total else 0.0

    @property
    def max_ms(self) -> float:
        """The largest value in milliseconds, exact."""
        return self.max_us / 1000

    def percentiles_ms(self, points: Sequence[float]) -> list[float]:
        """The values at these percentiles, each 0 to 100, in milliseconds; 0 if there is none."""
        sums = list(accumulate(self._counts))
        return [self._at_ms(sums, point) for point in points]

    def percentile_ms(self, point: float) -> float:
        """The value at one percentile in milliseconds."""
        return self.percentiles_ms([point])[0]

    def share_over(self, seconds: float) -> float:
        """Which share of the values, 0 to 1, is in buckets above this time."""
        first = bucket_of(max(0, int(seconds * 1_000_000))) + 1
        return sum(self._counts[first:]) / self.total if self.total else 0.0

    def counts_up_to(self, bounds_s: Sequence[float]) -> list[int]:
        """How many of the values are not above each of these times, to a thousandth."""
        sums = list(accumulate(self._counts))
        return [sums[min(bucket_of(round(bound * 1_000_000)), _BUCKETS - 1)] for bound in bounds_s]

    def histogram(self) -> HdrHistogram:
        """The same as an HdrHistogram of microseconds, for whatever writes its formats."""
        # Its own imports take longer than all of ours; a batch run needs none of it.
        from hdrh.histogram import HdrHistogram

        made = HdrHistogram(1, LONGEST_US, 3)
        for bucket, count in self.buckets():
            made.record_value(lowest_of(bucket), count)
        return made

    def _at_ms(self, sums: list[int], point: float) -> float:
        if not self.total:
            return 0.0
        # A share such as 99.9% of 1,000 must not become 999.0000001 and then the 1,000th.
        wanted = max(1, -int(-(point * self.total / 100 - 1e-9) // 1))
        return min(highest_of(bisect_left(sums, min(wanted, self.total))), self.max_us) / 1000


class SparseLatencies:
    """The same in less memory for few values: two significant digits, a dictionary.

    `pack` leaves a tenth of that where hardly anything more will be counted.
    """

    BITS = 8

    __slots__ = ("_counts", "_packed", "max_us", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._packed: tuple[array[int], array[int]] | None = None
        self.total = 0
        self.max_us = 0

    @property
    def counts(self) -> dict[int, int]:
        """How often which bucket was counted."""
        return self._counts if self._packed is None else dict(zip(*self._packed, strict=True))

    @property
    def packed(self) -> bool:
        """Whether counting one more would have to unpack them."""
        return self._packed is not None

    def pack(self) -> None:
        """Keeps the counts in arrays until something more is counted."""
        if self._packed is None:
            counts = self._counts.values()
            self._packed = array("H", self._counts), array(_narrowest(counts), counts)
            self._counts = {}

    def count(self, seconds: float) -> None:
        """Counts one latency."""
        self.count_us(microseconds(seconds))

    def count_us(self, value_us: int) -> None:
        """Counts one latency of whole microseconds, from 0 to `LONGEST_US`."""
        self.total += 1
        if value_us > self.max_us:
            self.max_us = value_us
        shift = value_us.bit_length() - self.BITS
        bucket = value_us if shift <= 0 else (shift << (self.BITS - 1)) + (value_us >> shift)
        if self._packed is not None:
            self._unpack()
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def count_buckets(self, buckets: Mapping[int, int], *, max_us: int) -> None:
        """Counts many latencies at once: how many there are of each `bucket_of`."""
        self._unpack()
        counts, coarser = self._counts, _coarser(self.BITS)
        for bucket, count in buckets.items():
            wide = coarser[bucket]
            counts[wide] = counts.get(wide, 0) + count
        self.total += sum(buckets.values())
        self.max_us = max(self.max_us, max_us)

    def add(self, other: SparseLatencies) -> Self:
        """Counts all that another one has counted; returns itself."""
        self._unpack()
        for bucket, count in other.counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.total += other.total
        self.max_us = max(self.max_us, other.max_us)
        return self

    def percentile_ms(self, point: float) -> float:
        """The value at a percentile, 0 to 100, in milliseconds; 0 if there is none."""
        wanted, seen = point * self.total / 100 - 1e-9, 0
        counts = self.counts
        for bucket in sorted(counts):
            seen += counts[bucket]
            if seen >= wanted:
                return min(highest_of(bucket, self.BITS), self.max_us) / 1000
        return 0.0

    def _unpack(self) -> None:
        self._counts, self._packed = self.counts, None


def _narrowest(counts: Collection[int]) -> str:
    """The type code of the narrowest array that holds these; nearly all counts are small."""
    bits = max(counts, default=0).bit_length()
    return "B" if bits <= 8 else "H" if bits <= 16 else "I" if bits <= 32 else "Q"
