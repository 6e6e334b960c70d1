"""A Source from a stream of bytes and the rows of one format in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from contextlib import aclosing
from typing import Protocol

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from batchkms.sources.gunzip import StreamBroken
from batchkms.sources.stream import InputStream

BATCH_ROWS = 256
"""Rows are parsed in lots of at most so many, so that nothing else waits for long."""

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


class ResultReader(RowReader, Protocol):
    """One in which the rows of an earlier run's results may come."""

    @property
    def may_be_results(self) -> bool:
        """Whether this can be a result file, for all that is known."""

    @property
    def first_own(self) -> int | None:
        """The ordinal of the first row that brought a `seq` of its own, as result rows do."""


class StreamSource:
    """Implements `sources.base.Source` for a format that is read as a stream."""

    def __init__(
        self,
        stream: InputStream,
        reader: RowReader,
        *,
        options: Mapping[str, str] | None = None,
        unseen: Set[str] = frozenset(),
    ) -> None:
        """`unseen` is the set of fields that the reader has not seen, `options` what names them."""
        self._stream = stream
        self._reader = reader
        self._options = options or {}
        self._unseen = unseen

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
        return {name: self._options[name] for name in sorted(self._unseen)}

    async def batches(self) -> AsyncIterator[Rows]:
        """Yields the rows as they come, at most 256 at a time. See `Source.batches`."""
        try:
            async with aclosing(self._stream.chunks()) as chunks:
                async for chunk in chunks:
                    for rows in self._reader.feed(chunk):
                        yield rows
                        # Chunks that were read ahead are there at once: let others have a turn.
                        await asyncio.sleep(0)
        except StreamBroken as broken:
            raise InputBroken(
                f"{self.name}, line {self._reader.line}: the input breaks off: {broken}",
                hint="rows before that line were read; get a complete copy of the input",
                changing=broken.changing,
            ) from None
        for rows in self._reader.end():
            yield rows

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
