"""The `seq` of rows that cannot be read, in an input that is a result file itself.

An ordinary row's `seq` is its ordinal, a result row brings its own, in any order. A row of a
result file that cannot be read has lost its own, and its ordinal may be that of another row.
So it is held back to the end of the input and given the smallest number that no row has: if one
row of a complete result file is damaged, that is exactly the one it had.

Which kind an input is, the header of a CSV file says, or the first row that can be read; rows
before that one wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from batchkms.rowset import RowSet
from batchkms.sources.reading import BATCH_ROWS, ResultReader, Rows

UNREADABLE = frozenset(
    (
        *("InvalidJson", "InvalidUtf8", "NotAnObject", "RowTooLong"),
        *("InvalidCsvRow", "WrongCellCount", "InvalidResultRow"),
    )
)
"""The codes of rows of which nothing was read, not even a `seq`."""

MOST_HELD = 10_000
"""So many rows of a result file may be unreadable; memory is bounded by it."""

_MOST_UNDECIDED = BATCH_ROWS
"""After so many unreadable rows and nothing else, an input is an ordinary one."""


class _Kind(Enum):
    """What an input has turned out to be so far."""

    UNDECIDED = auto()
    ORDINARY = auto()
    RESULTS = auto()


class NumberedRows:
    """Implements `reading.RowReader` around the reader of a format; `name` is the input's.

    What comes out depends on the rows alone, not on the chunks that they came in. If the input
    breaks off, the rows that are held back are not given out.
    """

    def __init__(self, reader: ResultReader, *, name: str) -> None:
        self._reader = reader
        self._name = name
        self._kind = _Kind.UNDECIDED
        self._ordinal = 0
        self._held: list[Result] = []
        # The numbers that are taken: those up to the first result row, and these.
        self._last_ordinary = 0
        self._taken = RowSet()

    @property
    def line(self) -> int:
        """The line that is not complete yet."""
        return self._reader.line

    @property
    def may_be_results(self) -> bool:
        """Whether this can be a result file, for all that is known."""
        return self._kind is not _Kind.ORDINARY

    @property
    def first_own(self) -> int | None:
        """The ordinal of the first row that brought a `seq` of its own."""
        return self._reader.first_own

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the rows that this chunk completes, but for those that are held back.

        Raises what the reader does, and InputBroken when too many are held.
        """
        return self._passed(self._reader.feed(chunk))

    def end(self) -> Iterator[Rows]:
        """Yields the last rows, and with their numbers those that were held back."""
        yield from self._passed(self._reader.end())
        if self._kind is _Kind.RESULTS:
            for row, seq in zip(self._held, self._taken.missing(self._last_ordinary), strict=False):
                # Of a row of which nothing was read, the number is the id as well.
                row.seq, row.id = seq, str(seq)
        for begin in range(0, len(self._held), BATCH_ROWS):
            yield [*self._held[begin : begin + BATCH_ROWS]]
        self._held = []

    def _passed(self, batches: Iterator[Rows]) -> Iterator[Rows]:
        for rows in batches:
            if not self._reader.may_be_results:
                self._kind = _Kind.ORDINARY
            if self._kind is _Kind.ORDINARY and self._reader.first_own is None:
                self._ordinal += len(rows)
                yield rows
                continue
            passed: Rows = []
            try:
                for row in rows:
                    passed += self._taken_in(row)
            except InputBroken:
                yield passed
                raise
            if passed:
                yield passed

    def _taken_in(self, row: Record | Result) -> Rows:
        """The rows that can go on now that this one has come."""
        self._ordinal += 1
        if self._reader.first_own == self._ordinal:
            self._kind = _Kind.RESULTS
            self._last_ordinary = self._ordinal - 1 - len(self._held)
        if type(row) is Result and row.code in UNREADABLE and self._kind is not _Kind.ORDINARY:
            return self._held_back(row)
        if self._kind is _Kind.RESULTS:
            self._taken.add(row.seq)
            return [row]
        return [*self._let_go(), row]

    def _held_back(self, row: Result) -> Rows:
        self._held.append(row)
        if self._kind is _Kind.UNDECIDED:
            return [*self._let_go()] if len(self._held) == _MOST_UNDECIDED else []
        if len(self._held) > MOST_HELD:
            raise InputBroken(
                f"{self._name} has rows of a result file, and more than {MOST_HELD:,} rows that "
                "cannot be read: this is no result file as a run leaves it",
                hint="take the result file as it was written, or an inventory without such rows",
            )
        return []

    def _let_go(self) -> list[Result]:
        """The rows that were held, as this is an ordinary input."""
        self._kind = _Kind.ORDINARY
        held, self._held = self._held, []
        return held
