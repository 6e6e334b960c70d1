"""Which share of an input a run has done, and at which part of the rate: in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchkms.shard import Shard
from batchkms.sources.base import Source
from batchkms.sources.shares import SharedSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFigures:
    """`rows` of the `input_rows` that were read are taken, as far as `--limit` goes.

    `per_second` is the share's own part of the rate, None without a limit.
    """

    shard: Shard
    rows: int
    input_rows: int
    per_second: int | None

    @property
    def left_to_others(self) -> int:
        """How many of the rows that were read belong to other shares."""
        return self.input_rows - self.shard.rows_of(self.input_rows)

    def as_json(self) -> dict[str, Any]:
        """The same for programs, and for the manifest."""
        return {
            "number": self.shard.number,
            "of": self.shard.of,
            "rows": self.rows,
            "input_rows": self.input_rows,
            "left_to_others": self.left_to_others,
            "calls_per_second": self.per_second,
        }

    def as_text(self) -> str:
        """The same in a line, for people."""
        over = self.input_rows - self.left_to_others - self.rows
        beyond = f", {over:,} over --limit" if over else ""
        rate = "no limit" if self.per_second is None else f"{self.per_second:,} calls/s for it"
        return (
            f"share {self.shard}: {self.rows:,} of the {self.input_rows:,} rows read, "
            f"{self.left_to_others:,} left to other shares{beyond}; {rate}"
        )


def shard_figures(source: Source, per_second: int | None) -> ShardFigures | None:
    """The figures of a source as they are now; None for one that gives the whole input."""
    if not isinstance(source, SharedSource):
        return None
    return ShardFigures(
        shard=source.shard,
        rows=source.rows_taken,
        input_rows=source.rows_read,
        per_second=per_second,
    )
