"""A reader that gives out lines for others to read, once the rows are known to be ordinary ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from batchkms.sources.lineblocks import LineBlock, LineBlocks
from batchkms.sources.reading import ResultReader, Rows

MOST_UNDECIDED_BYTES = 1024 * 1024
"""After so much without a row that can be read, the rows are read here."""


class LinesOrRows:
    """Gives out what `blocks` makes of an input, or the rows of `reader` if it may hold results.

    Rows of a result file have a `seq` of their own, and those that cannot be read must wait:
    that takes one reader.
    """

    def __init__(self, reader: ResultReader, blocks: LineBlocks) -> None:
        self._reader = reader
        self._blocks = blocks
        self._lines: bool | None = None
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._rows: list[Rows] = []

    @property
    def line(self) -> int:
        """The line that is not complete yet."""
        return self._blocks.lines + 1 if self._lines else self._reader.line

    def feed(self, chunk: bytes) -> Iterator[Rows | LineBlock]:
        """Yields the lines or rows that this chunk completes. Raises what the reader does."""
        if self._lines is None:
            yield from self._decided(chunk)
        else:
            yield from self._blocks.feed(chunk) if self._lines else self._reader.feed(chunk)

    def end(self) -> Iterator[Rows | LineBlock]:
        """Yields the last of them."""
        if self._lines:
            yield from self._blocks.end()
        else:
            yield from self._rows
            yield from self._reader.end()

    def broken(self) -> Iterator[LineBlock]:
        """Yields the lines that are complete, where the input breaks off."""
        if self._lines:
            yield from self._blocks.rest()

    def _decided(self, chunk: bytes) -> Iterator[Rows | LineBlock]:
        """Looks at the rows of the first chunks; yields nothing as long as that does not tell."""
        for rows in self._reader.feed(chunk):
            self._rows.append(rows)
        self._chunks.append(chunk)
        self._chunks_bytes += len(chunk)
        if self._reader.first_own is not None or self._chunks_bytes > MOST_UNDECIDED_BYTES:
            self._lines = False
            items: Iterator[Rows | LineBlock] = iter(self._rows)
        elif not self._reader.may_be_results:
            self._lines = True
            items = chain.from_iterable(map(self._blocks.feed, self._chunks))
        else:
            return
        self._rows, self._chunks = [], []
        yield from items
