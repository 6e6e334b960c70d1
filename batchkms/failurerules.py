"""When failures of rows stop a run: the first of them all failed, or there are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from batchkms.errors import TooManyFailures
from batchkms.tally import Tally

ALL_FAILED_ROWS = 100
"""When so many rows at the start all failed, something is wrong with all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxFailures:
    """How many rows may fail before the run is stopped: a number, or a share of the rows."""

    SHARE_FROM_ROWS: ClassVar[int] = 100

    rows: int | None = None
    share: float | None = None

    def exceeded(self, failures: int, rows: int) -> bool:
        """Whether so many failures among so many rows taken are too many.

        A share is judged from the first 100 rows on.
        """
        if self.rows is not None and failures > self.rows:
            return True
        enough = rows >= self.SHARE_FROM_ROWS
        return self.share is not None and enough and failures > self.share * rows


class FailureRules:
    """The rules of one run, in whatever lots its rows come back.

    `kept_ok` are rows that an earlier part of the run did: then nothing is wrong with all of them.
    """

    def __init__(self, most: MaxFailures, tally: Tally) -> None:
        self._most = most
        self._tally = tally
        self._kept_ok = tally.ok
        self._first: set[int] = set()
        self._first_failures = 0

    @property
    def wants_first(self) -> int:
        """How many rows more are among the first ones."""
        return ALL_FAILED_ROWS - len(self._first)

    def begun(self, seqs: list[int]) -> None:
        """These are the next rows that were taken."""
        self._first.update(seqs[: self.wants_first])

    def broken_by(self, failures: list[tuple[int, str, str]]) -> TooManyFailures | None:
        """What stops the run after these failures: the `seq`, code and message of each.

        They were counted in its tally before.
        """
        for seq, code, message in failures:
            self._first_failures += seq in self._first
            if self._first_failures == ALL_FAILED_ROWS and not self._kept_ok:
                return all_failed(code, message)
        tally = self._tally
        if self._most.exceeded(tally.failed - tally.passed_on, tally.done):
            return too_many(tally)
        return None


def all_failed(code: str | None, message: str | None) -> TooManyFailures:
    """The end of a run whose first rows all failed, the last one with this."""
    return TooManyFailures(
        f"the first {ALL_FAILED_ROWS} rows all failed; the last one with {code}: {message}",
        hint="correct the cause, which the failed rows name",
    )


def too_many(tally: Tally) -> TooManyFailures:
    """The end of a run with more failures than are allowed."""
    return TooManyFailures(
        f"{tally.failed:,} of the {tally.done:,} rows done so far failed, more than allowed",
        hint="see the failed rows in the output, or raise --max-failures",
    )
