"""The lines of a JSON Lines input, dealt to others that make rows of them.

Splitting and counting is a tenth of the work of reading a row. It needs the rows to be ordinary
ones, whose `seq` is their ordinal: the first of them tell, and an input that may be a result file
is read here, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from batchkms.blockdigest import BLOCK_ROWS
from batchkms.sources.lines import Lines, LineSplitter, Piece

MOST_BLOCK_BYTES = 1024 * 1024
"""A block ends when it takes more memory than this."""

_PIECE_BYTES = 256
"""What a piece takes besides its text: behind a row, each of many blank lines may be one."""

_WORTH_BYTES = 128 * 1024
"""With so much, a block ends where the chunk does that was read, or a few rows before."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Some lines that follow one another: `rows` of them are not blank.

    `lines` and `rows_before` count what comes before them. `too_long` are the indexes of those
    that were over the cap, which are empty in the text. That comes in `pieces`, to be copied once.
    """

    lines_before: int
    rows_before: int
    rows: int
    pieces: tuple[bytes | memoryview, ...] = field(repr=False)
    too_long: tuple[int, ...] = ()

    @property
    def text(self) -> bytes:
        """The lines with newlines between them."""
        return b"".join(self.pieces)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return sum(map(len, self.pieces))


class LineBlocks:
    """Cuts an input into blocks of up to `block_rows` rows, no more than `limit` of them in all.

    A block ends where a block of digests does, unless it has too many bytes or the input
    `trickles`, as a pipe may, so that no row waits for others. Whoever was given such a block
    must be given what follows, too, until a block begins where one of digests does.
    """

    def __init__(
        self, *, longest_row_bytes: int, block_rows: int, limit: int | None, trickles: bool
    ) -> None:
        self.lines = 0
        """Lines that are complete."""
        self.rows = 0
        self._splitter = LineSplitter(longest_row_bytes)
        self._block_rows = max(BLOCK_ROWS, block_rows // BLOCK_ROWS * BLOCK_ROWS)
        self._limit = limit
        self._trickles = trickles
        self._begin_block()

    @property
    def full(self) -> bool:
        """Whether there are as many rows as the limit allows."""
        return self._limit is not None and self.rows >= self._limit

    def feed(self, chunk: bytes) -> Iterator[LineBlock]:
        """Yields the blocks that this chunk completes."""
        yield from self._taken(self._splitter.feed(chunk))
        if self._trickles or self.full:
            yield from self.rest()
        elif self._pieces:
            # The rows that wait, copied: mostly they are all that keeps the whole chunk in memory.
            self._pieces[-1] = bytes(self._pieces[-1])

    def end(self) -> Iterator[LineBlock]:
        """Yields the last blocks; the last line need have no newline."""
        yield from self._taken(self._splitter.end())
        yield from self.rest()

    def rest(self) -> Iterator[LineBlock]:
        """Yields what there is of a block, if anything."""
        if self.rows > self._rows_before:
            yield self._ended()

    def _taken(self, parts: Iterator[list[bytes] | Piece]) -> Iterator[LineBlock]:
        for part in parts:
            if not isinstance(part, Piece):
                yield from self._take_lines(part)
            elif part.last and not self.full:
                self._too_long.append(self.lines - self._lines_before)
                yield from self._take([b""], b"", 1)

    def _take_lines(self, lines: list[bytes]) -> Iterator[LineBlock]:
        if isinstance(lines, Lines):
            yield from self._take_parts(lines[:1], memoryview(lines[0]))
            yield from self._take_parts(lines[1:], lines.text)
        else:
            yield from self._take_parts(lines, memoryview(b"\n".join(lines)))

    def _take_parts(self, lines: list[bytes], text: memoryview) -> Iterator[LineBlock]:
        """Takes these lines, of this text."""
        begin = at = 0
        while begin < len(lines) and not self.full:
            end = begin + self._lines_to_take(len(lines) - begin, len(text) - at)
            part = lines[begin:end]
            if end - begin <= len(lines) - end:
                upto = at + _bytes_of(part) - 1
            else:
                upto = len(text) - _bytes_of(lines[end:])
            yield from self._take(part, text[at:upto], len([*filter(bytes.strip, part)]))
            begin, at = end, upto + 1

    def _lines_to_take(self, left: int, left_bytes: int) -> int:
        """How many of the lines that are left to take for the block."""
        room = self._room()
        if left >= room:
            return room
        aligned = (self.rows + left) // BLOCK_ROWS * BLOCK_ROWS - self.rows
        return aligned if aligned > 0 and self._block_bytes + left_bytes > _WORTH_BYTES else left

    def _room(self) -> int:
        """How many rows more the block may have."""
        room = self._most_rows() - (self.rows - self._rows_before)
        return room if self._limit is None else min(room, self._limit - self.rows)

    def _most_rows(self) -> int:
        inside = self._rows_before % BLOCK_ROWS
        return BLOCK_ROWS - inside if inside else self._block_rows

    def _take(self, lines: list[bytes], text: bytes | memoryview, rows: int) -> Iterator[LineBlock]:
        if self.lines > self._lines_before:
            self._pieces.append(b"\n")
        self._pieces.append(text)
        self._block_bytes += len(text) + _PIECE_BYTES
        self.lines += len(lines)
        self.rows += rows
        if self.rows == self._rows_before:
            # Nothing but blank lines so far: however many they are, they are not kept.
            self._begin_block()
        elif self._is_whole():
            yield self._ended()

    def _is_whole(self) -> bool:
        return (
            self.rows - self._rows_before >= self._most_rows()
            or self._block_bytes > MOST_BLOCK_BYTES
            or (self._block_bytes > _WORTH_BYTES and self.rows % BLOCK_ROWS == 0)
        )

    def _begin_block(self) -> None:
        self._lines_before, self._rows_before = self.lines, self.rows
        self._pieces: list[bytes | memoryview] = []
        self._too_long: list[int] = []
        self._block_bytes = 0

    def _ended(self) -> LineBlock:
        block = LineBlock(
            lines_before=self._lines_before,
            rows_before=self._rows_before,
            rows=self.rows - self._rows_before,
            pieces=tuple(self._pieces),
            too_long=tuple(self._too_long),
        )
        self._begin_block()
        return block


def _bytes_of(lines: list[bytes]) -> int:
    """Each with its newline."""
    return sum(map(len, lines)) + len(lines)
