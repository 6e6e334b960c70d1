"""The rows of one share of an input, out of all that are read: a Source around another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from batchkms.rowset import RowSet
from batchkms.shard import Shard
from batchkms.sources.base import Source


class SharedSource:
    """Implements `base.Source`. Each row keeps its `seq`; those of other shares are left out.

    Dealt are the rows in the order in which the source yields them, which depends on the input
    alone and not on the chunks that it came in. `rows_read` are those of the whole input so far,
    of which `rows_taken` belong to the share.
    """

    def __init__(self, source: Source, shard: Shard, *, limit: int | None = None) -> None:
        self.shard = shard
        self._limit = limit
        self.rows_read = 0
        self.rows_taken = 0
        self._source = source
        self._seen = RowSet()

    @property
    def name(self) -> str:
        """What to call the input in a message: its path, or `stdin`."""
        return self._source.name

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the whole input, where known."""
        return self._source.size_bytes

    @property
    def read_bytes(self) -> int:
        """Bytes of it consumed so far."""
        return self._source.read_bytes

    @property
    def sha256(self) -> str | None:
        """Hex digest of the whole input; None until its end was reached."""
        return self._source.sha256

    @property
    def unseen(self) -> Mapping[str, str]:
        """Fields that no row so far had, of this share or of another."""
        return self._source.unseen

    async def batches(self) -> AsyncIterator[list[Record | Result]]:
        """Yields the rows of the share.

        Raises what the source does, and InputBroken where a `seq` comes for the second time in
        the whole input: its two rows may well belong to different shares.
        """
        async for batch in self._source.batches():
            self._look_at(batch)
            own = batch[self.shard.offset(self.rows_read) :: self.shard.of]
            self.rows_read += len(batch)
            if self._limit is not None:
                own = own[: self._limit - self.rows_taken]
            self.rows_taken += len(own)
            if own:
                yield own

    def _look_at(self, batch: list[Record | Result]) -> None:
        seqs = [item.seq for item in batch]
        if not seqs or self._seen.add_next(seqs):
            return
        for seq in seqs:
            if not self._seen.add(seq):
                raise _seq_twice(seq)

    async def aclose(self) -> None:
        """Stops reading."""
        await self._source.aclose()


def _seq_twice(seq: int) -> InputBroken:
    return InputBroken(
        f"two rows of the input have the seq {seq}, so that their results could not be told apart",
        hint="give each result row of the input a seq of its own, or leave the column out",
    )
