"""When failures of rows stop a run: the first of them all failed, or there are too many."""

from __future__ import annotations

from batchkms.engine import ALL_FAILED_ROWS, MaxFailures
from batchkms.errors import TooManyFailures
from batchkms.tally import Tally


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
                return TooManyFailures(
                    f"the first {ALL_FAILED_ROWS} rows all failed; the last one with {code}: "
                    f"{message}",
                    hint="correct the cause, which the failed rows name",
                )
        tally = self._tally
        if self._most.exceeded(tally.failed - tally.passed_on, tally.done):
            return TooManyFailures(
                f"{tally.failed:,} of the {tally.done:,} rows done so far failed, more than "
                "allowed",
                hint="see the failed rows in the output, or raise --max-failures",
            )
        return None
