"""Where each row of a result file is, by its `seq`, in memory that does not grow with the rows.

Eight bytes a row lie in a temporary file that has no name, in blocks of 1,024 consecutive numbers
of which only those exist that hold a row; some hundred of them are held in memory.
"""

from __future__ import annotations

import errno
import tempfile
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from batchkms.errors import OutputError

BLOCK_ROWS = 1_024

HELD_BLOCKS = 256
"""So many blocks are in memory: 2 MiB."""

MOST_BLOCKS = 1 << 18
"""So many blocks there may be: 268 million rows that lie close together, and of rows that lie
far apart as many as take 2 GiB on the disk."""

_BLOCK_BYTES = 8 * BLOCK_ROWS
_FLAG_BITS = 4


OK, ENVELOPE, CHOSEN, MATCHED = 1, 2, 4, 8
"""What is noted of a row beside its place: bits of `Place.flags`."""


class Place(NamedTuple):
    """Where a row begins in its file, in bytes, and what is noted of it."""

    offset: int
    flags: int


class TooFarApart(Exception):
    """The number of a row lies so far from all others that no run has given it."""


class RowIndex:
    """The places of rows. A context manager, as it holds a temporary file.

    A `seq` is a number below 2**63. Its methods, and making it, raise OutputError where the
    temporary file cannot be made, written or read.
    """

    def __init__(self, *, held_blocks: int = HELD_BLOCKS, most_blocks: int = MOST_BLOCKS) -> None:
        self.rows = 0
        self._held_blocks = held_blocks
        self._most_blocks = most_blocks
        try:
            self._file = tempfile.TemporaryFile(prefix="batchkms-")  # noqa: SIM115 - `__exit__` closes it
        except OSError as error:
            raise _unusable(error) from None
        # Where each block is in the file, and those in memory, that used last at the end.
        self._places: dict[int, int] = {}
        self._held: OrderedDict[int, array[int]] = OrderedDict()
        self._changed: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the temporary file."""
        self._file.close()

    def add(self, seq: int, offset: int, flags: int) -> bool:
        """Notes a row. False if there is one of that number already, which stays.

        Raises TooFarApart.
        """
        number, at = divmod(seq, BLOCK_ROWS)
        block = self._block(number)
        if block is None:
            block = self._new_block(number)
        if block[at]:
            return False
        block[at] = (offset + 1) << _FLAG_BITS | flags
        self._changed.add(number)
        self.rows += 1
        return True

    def find(self, seq: int) -> Place | None:
        """The place of a row, None if there is none of that number."""
        number, at = divmod(seq, BLOCK_ROWS)
        block = self._block(number)
        return _place(block[at]) if block is not None and block[at] else None

    def mark(self, seq: int, flag: int) -> None:
        """Notes something more of a row that is there."""
        number, at = divmod(seq, BLOCK_ROWS)
        block = self._block(number)
        if block is not None and block[at]:
            block[at] |= flag
            self._changed.add(number)

    def all_rows(self) -> Iterator[tuple[int, Place]]:
        """Yields every row in the order of the numbers. Rows may be marked meanwhile."""
        for number in sorted(self._places):
            block = self._block(number)
            for at, value in enumerate(block.tolist() if block is not None else ()):
                if value:
                    yield number * BLOCK_ROWS + at, _place(value)

    def _block(self, number: int) -> array[int] | None:
        block = self._held.get(number)
        if block is not None:
            self._held.move_to_end(number)
            return block
        place = self._places.get(number)
        if place is None:
            return None
        block = array("Q")
        try:
            self._file.seek(place)
            block.frombytes(self._file.read(_BLOCK_BYTES))
        except OSError as error:
            raise _unusable(error) from None
        self._hold(number, block)
        return block

    def _new_block(self, number: int) -> array[int]:
        if len(self._places) >= self._most_blocks:
            raise TooFarApart
        self._places[number] = len(self._places) * _BLOCK_BYTES
        block = array("Q", bytes(_BLOCK_BYTES))
        self._changed.add(number)
        self._hold(number, block)
        return block

    def _hold(self, number: int, block: array[int]) -> None:
        self._held[number] = block
        if len(self._held) <= self._held_blocks:
            return
        oldest, least_used = self._held.popitem(last=False)
        if oldest in self._changed:
            self._changed.discard(oldest)
            try:
                self._file.seek(self._places[oldest])
                self._file.write(least_used)
            except OSError as error:
                raise _unusable(error) from None


def _place(value: int) -> Place:
    return Place((value >> _FLAG_BITS) - 1, value & (1 << _FLAG_BITS) - 1)


def _unusable(error: OSError) -> OutputError:
    hint = "free some space in the folder of temporary files, or name another with TMPDIR"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "raise the limit of open files (ulimit -n)"
    return OutputError(
        f"the temporary file of the row index cannot be used: {error.strerror}", hint=hint
    )
