"""A Source from a stream of bytes and the rows of one format in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from contextlib import aclosing
from typing import Protocol, TypeVar

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from batchkms.sources.gunzip import StreamBroken
from batchkms.sources.lineblocks import LineBlock
from batchkms.sources.stream import CHUNK_BYTES, InputStream

BATCH_ROWS = 256
"""Rows are parsed in lots of at most so many, so that nothing else waits for long."""

LARGE_CHUNK_BYTES = 512 * 1024
"""For lines that others are to read: little is made of them here, and fewer cuts cost less."""

Rows = list[Record | Result]


class RowReader(Protocol):
    """One format: chunks of bytes in, rows out. Knows no files and no event loop."""

    @property
    def line(self) -> int:
        """The line on which the row began that is not complete yet; 1 is the first line."""

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the rows that this chunk completes. Raises InputError and InputBroken."""

    def end(self) -> Iterator[Rows]:
        """Yields the rows that the end of the input completes. Raises the same."""


class DealingReader(Protocol):
    """One that may give out lines in the place of rows."""

    @property
    def line(self) -> int:
        """As of a `RowReader`."""

    def feed(self, chunk: bytes) -> Iterator[Rows | LineBlock]:
        """Yields what this chunk completes. Raises InputError and InputBroken."""

    def end(self) -> Iterator[Rows | LineBlock]:
        """Yields what the end of the input completes. Raises the same."""

    def broken(self) -> Iterator[LineBlock]:
        """Yields what was complete when the input broke off."""


class ResultReader(RowReader, Protocol):
    """One in which the rows of an earlier run's results may come."""

    @property
    def may_be_results(self) -> bool:
        """Whether this can be a result file, for all that is known."""

    @property
    def first_own(self) -> int | None:
        """The ordinal of the first row that brought a `seq` of its own, as result rows do."""


Item = TypeVar("Item", covariant=True)


class _Reader(Protocol[Item]):
    """What `RowReader` and `DealingReader` have in common."""

    @property
    def line(self) -> int: ...

    def feed(self, chunk: bytes) -> Iterator[Item]: ...

    def end(self) -> Iterator[Item]: ...


class StreamSource:
    """Implements `sources.base.Source` for a format that is read as a stream."""

    def __init__(
        self,
        stream: InputStream,
        reader: RowReader,
        *,
        options: Mapping[str, str] | None = None,
        unseen: Set[str] = frozenset(),
        lines_of: ResultReader | None = None,
    ) -> None:
        """`unseen` is the set of fields that the reader has not seen, `options` what names them.

        `lines_of` is the reader if its rows are lines, which others may read as well.
        """
        self._stream = stream
        self._reader = reader
        self._options = options or {}
        self._unseen = unseen
        self._seen_elsewhere: set[str] = set()
        self.lines_of = lines_of

    @property
    def name(self) -> str:
        """The path, or `stdin`."""
        return self._stream.name

    @property
    def size_bytes(self) -> int | None:
        """Bytes in all as stored, None for a pipe."""
        return self._stream.size_bytes

    @property
    def read_bytes(self) -> int:
        """Bytes read so far, as stored."""
        return self._stream.read_bytes

    @property
    def sha256(self) -> str | None:
        """Hex digest of the input as stored; None until its end was reached."""
        return self._stream.sha256

    @property
    def unseen(self) -> dict[str, str]:
        """Fields that no row so far had though an option names them: that option, by name."""
        return {name: self._options[name] for name in sorted(self._unseen - self._seen_elsewhere)}

    def saw(self, names: Iterable[str]) -> None:
        """Whoever reads the lines has seen these fields."""
        self._seen_elsewhere.update(names)

    async def batches(self) -> AsyncIterator[Rows]:
        """Yields the rows as they come, at most 256 at a time. See `Source.batches`."""
        async for rows in self._read(self._reader):
            yield rows

    async def dealt(
        self, reader: DealingReader, most_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[Rows | LineBlock]:
        """Yields what another reader makes of the input, read in chunks of so much.

        Raises as `Source.batches` does.
        """
        try:
            async for item in self._read(reader, most_bytes):
                yield item
        except InputBroken:
            for block in reader.broken():
                yield block
            raise

    async def _read(
        self, reader: _Reader[Item], most_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[Item]:
        try:
            async with aclosing(self._stream.chunks(most_bytes)) as chunks:
                async for chunk in chunks:
                    for item in reader.feed(chunk):
                        yield item
                        # Chunks that were read ahead are there at once: let others have a turn.
                        await asyncio.sleep(0)
        except StreamBroken as broken:
            raise InputBroken(
                f"{self.name}, line {reader.line}: the input breaks off: {broken}",
                hint="rows before that line were read; get a complete copy of the input",
                changing=broken.changing,
            ) from None
        for item in reader.end():
            yield item

    async def aclose(self) -> None:
        """Stops reading. Safe to call at any time, and more than once."""
        self._stream.close()


def batched(rows: Iterator[Record | Result]) -> Iterator[Rows]:
    """The rows in lots; those before an InputBroken are yielded before it is raised."""
    batch: Rows = []
    try:
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
    except InputBroken:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
