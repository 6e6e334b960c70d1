"""One share of several machines: which rows of an input are its own, and how much of a quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from batchkms.errors import ConfigError

MOST_SHARES = 1_000

_G = TypeVar("_G", bound=str)


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `number` (from 1) of `of` shares, written `2/3`.

    Rows are dealt one by one, as cards are: the first row that is read goes to share 1, the next
    one to share 2. So every share is as large as any other to one row, is done when the whole
    input was read by the same part, and with the first `limit` rows of each share there are the
    first `of * limit` rows of the input.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def offset(self, before: int) -> int:
        """How many of the next rows are passed over, when so many were read before them."""
        return (self.number - 1 - before) % self.of

    def rows_of(self, rows: int) -> int:
        """How many of the first rows of an input are its own."""
        return (rows - self.number + self.of) // self.of

    def part(self, per_second: int) -> int:
        """Its part of so many calls per second; the parts of all shares add up to them.

        0 where there are fewer calls than shares.
        """
        least, rest = divmod(per_second, self.of)
        return least + (self.number <= rest)

    def divided(self, per_second: Mapping[_G, int | None]) -> dict[_G, int | None]:
        """Its part of each quota, in calls per second; None, no limit, stays.

        Raises ConfigError where a quota has fewer calls than there are shares: a share that may
        call once in more than a second is none that a quota is held with.
        """
        for group, calls in per_second.items():
            if calls is not None and calls < self.of:
                raise ConfigError(
                    f"{calls:,} calls/s ({group}) cannot be divided among {self.of:,} shares: "
                    "each needs at least one",
                    hint=f"take {calls:,} shares at the most, or a higher --rate if the account's "
                    "quota is higher",
                )
        return {
            group: None if calls is None else self.part(calls)
            for group, calls in per_second.items()
        }


def divided(per_second: Mapping[_G, int | None], shard: Shard | None) -> dict[_G, int | None]:
    """The quotas of this process: those of its share, or all where it does the whole input.

    Raises ConfigError as `Shard.divided` does.
    """
    return dict(per_second) if shard is None else shard.divided(per_second)
