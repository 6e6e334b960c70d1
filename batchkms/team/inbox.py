"""What a member is given to do: rows as they are, or lines of which it makes rows."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from batchkms.blockdigest import BLOCK_ROWS
from batchkms.engine import Batch
from batchkms.errors import RunStopped
from batchkms.runs.fingerprint import digested
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.lineblocks import LineBlock
from batchkms.team.messages import BlocksOfRows, Digests

Tell = Callable[[Digests], None]


class Inbox:
    """Rows on their way to the engine of a member. `tell` is given what was read of lines."""

    def __init__(self, make_reader: Callable[[], JsonlReader], tell: Tell) -> None:
        self._make_reader = make_reader
        self._lines: LineRows | None = None
        self._tell = tell
        self._items: deque[Batch | LineBlock] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Batch | LineBlock) -> None:
        """Something to do has come."""
        self._items.append(item)
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    async def batches(self) -> AsyncIterator[Batch]:
        """Yields the rows. Raises RunStopped where lines are no ordinary rows."""
        while True:
            while not self._items:
                if self._ended:
                    self._tell_rest()
                    return
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            item = self._items.popleft()
            if not isinstance(item, LineBlock):
                yield item
                continue
            for rows in self._rows_of(item):
                yield rows
                await asyncio.sleep(0)

    def _rows_of(self, block: LineBlock) -> Iterator[Batch]:
        if self._lines is None:
            self._lines = LineRows(self._make_reader())
        yield from self._lines.read(block)
        self._tell(self._lines.news())

    def _tell_rest(self) -> None:
        if self._lines is not None:
            self._tell(self._lines.rest())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class LineRows:
    """Makes rows of blocks of lines, and digests them as `InputRows` would."""

    def __init__(self, reader: JsonlReader) -> None:
        self._reader = reader
        self._unseen = set(reader.unseen)
        self._open: list[bytes] = []
        self._number = self._rows = 0
        self._digests: list[bytes] = []
        self._blocks: list[BlocksOfRows] = []

    def read(self, block: LineBlock) -> Iterator[Batch]:
        """Yields the rows of a block. Raises RunStopped if one of them has a `seq` of its own."""
        if block.rows_before % BLOCK_ROWS == 0:
            self._begin_blocks(block.rows_before // BLOCK_ROWS)
            self._open = []
        for rows in self._reader.block(block):
            if self._reader.first_own is not None:
                raise _result_row(self._reader.first_own)
            self._digest(rows)
            yield rows

    def news(self) -> Digests:
        """What was read since it was last asked for."""
        seen = self._unseen - self._reader.unseen
        self._unseen -= seen
        self._begin_blocks(self._number + len(self._digests))
        blocks, self._blocks = self._blocks, []
        return Digests(blocks, sorted(seen))

    def rest(self) -> Digests:
        """The block at the end of the input, if it has fewer rows than others."""
        if self._open:
            self._close(self._open)
            self._open = []
        return self.news()

    def _digest(self, rows: Batch) -> None:
        texts = self._open + [*map(digested, rows)]
        whole = len(texts) // BLOCK_ROWS * BLOCK_ROWS
        for at in range(0, whole, BLOCK_ROWS):
            self._close(texts[at : at + BLOCK_ROWS])
        self._open = texts[whole:]

    def _close(self, texts: list[bytes]) -> None:
        self._digests.append(hashlib.sha256(b"".join(texts)).digest())
        self._rows += len(texts)

    def _begin_blocks(self, number: int) -> None:
        """What follows begins with this number."""
        if self._digests:
            joined = b"".join(self._digests)
            self._blocks.append(BlocksOfRows(self._number, self._rows, joined))
        self._number, self._rows, self._digests = number, 0, []


def _result_row(ordinal: int) -> RunStopped:
    return RunStopped(
        f"row {ordinal:,} of the input, and perhaps some before it, are rows of a result file, "
        "with a seq of their own, and the first rows are not: such an input has to be read by one "
        "process",
        hint="go on with --resume --processes 1, or leave the column seq out of the input",
    )
