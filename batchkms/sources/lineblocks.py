"""The lines of a JSON Lines input, dealt to others that make rows of them.

Splitting and counting is a tenth of the work of reading a row. It needs the rows to be ordinary
ones, whose `seq` is their ordinal: the first of them tell, and an input that may be a result file
is read here, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from batchkms.blockdigest import BLOCK_ROWS
from batchkms.sources.lines import LineSplitter, Piece

MOST_BLOCK_BYTES = 1024 * 1024
"""A block ends when it has more than this."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Some lines that follow one another: `rows` of them are not blank.

    `lines` and `rows_before` count what comes before them. `too_long` are the indexes of those
    that were over the cap, which are empty in `text`.
    """

    lines_before: int
    rows_before: int
    rows: int
    text: bytes = field(repr=False)
    too_long: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.text)


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
                self._too_long.append(len(self._block))
                yield from self._take([b""], 1)

    def _take_lines(self, lines: list[bytes]) -> Iterator[LineBlock]:
        begin = 0
        while begin < len(lines) and not self.full:
            part = lines[begin : begin + self._room()]
            begin += len(part)
            yield from self._take(part, len([*filter(bytes.strip, part)]))

    def _room(self) -> int:
        """How many rows more the block may have."""
        room = self._most_rows() - (self.rows - self._rows_before)
        return room if self._limit is None else min(room, self._limit - self.rows)

    def _most_rows(self) -> int:
        inside = self._rows_before % BLOCK_ROWS
        return BLOCK_ROWS - inside if inside else self._block_rows

    def _take(self, lines: list[bytes], rows: int) -> Iterator[LineBlock]:
        self._block += lines
        self._block_bytes += sum(map(len, lines)) + len(lines)
        self.lines += len(lines)
        self.rows += rows
        if self.rows == self._rows_before:
            # Nothing but blank lines so far: however many they are, they are not kept.
            self._begin_block()
        elif (
            self.rows - self._rows_before >= self._most_rows()
            or self._block_bytes > MOST_BLOCK_BYTES
        ):
            yield self._ended()

    def _begin_block(self) -> None:
        self._lines_before, self._rows_before = self.lines, self.rows
        self._block: list[bytes] = []
        self._too_long: list[int] = []
        self._block_bytes = 0

    def _ended(self) -> LineBlock:
        block = LineBlock(
            lines_before=self._lines_before,
            rows_before=self._rows_before,
            rows=self.rows - self._rows_before,
            text=b"\n".join(self._block),
            too_long=tuple(self._too_long),
        )
        self._begin_block()
        return block
