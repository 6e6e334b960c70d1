"""What an input was, so that a later run can tell whether it is the same one.

A file has a size and the digest of its first 64 KiB. Any input, a pipe too, has the digest of the
rows that were read of it so far: it is checked before the first new row is sent.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from batchkms.blockdigest import BLOCK_ROWS, BlockDigest
from batchkms.errors import InputBroken, InputError, RunStopped
from batchkms.records import Record, Result
from batchkms.rowset import RowSet
from batchkms.sources.lineblocks import LineBlock

HEAD_BYTES = 64 * 1024
"""So much of a file is digested before the run; the rest is while it is read."""

MOST_HELD_BYTES = 32 * 1024 * 1024
"""So much memory rows may take that wait until the input was compared with that of the run."""

_ROW_BYTES = 256
"""About what a row takes in memory beside its own content."""

Batch = list[Record | Result]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first rows of an input: how many, and their SHA-256 (`blockdigest`).

    `broken` says that behind them the input was damaged, and must be mended to go on.
    """

    rows: int
    sha256: str
    broken: bool = False


class InputRows:
    """The rows of one input on their way to the engine, less those that are done.

    `done` are the rows with a result, `expected` the prefix that an earlier run has read; rows of
    it that are not done are held until it was found, in at most `most_held_bytes` of memory. Each
    row's `seq` must be its own, or results could not be told apart.
    """

    def __init__(
        self,
        *,
        done: RowSet | None = None,
        expected: Prefix | None = None,
        most_held_bytes: int | None = None,
    ) -> None:
        self.read = 0
        self.skipped = 0
        self._broken = False
        self._done = done if done is not None else RowSet()
        self._expected = expected
        self._most_held_bytes = most_held_bytes
        self._held_bytes = 0
        self._seen = RowSet()
        self._digest = BlockDigest()
        self._early_blocks: dict[int, tuple[int, bytes]] = {}

    def prefix(self) -> Prefix:
        """The rows that were read so far; those of the earlier run until they were found."""
        if self._expected is not None:
            return replace(self._expected, broken=self._expected.broken or self._broken)
        # What others have yet to tell of is not in it, nor is what follows that.
        return Prefix(self._digest.rows, self._digest.hexdigest(), self._broken)

    async def remaining(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch, None]:
        """Yields the rows that are not done.

        None is yielded before the expected prefix was found. Raises InputError if another one is
        there instead, or if too much would have to be held until then, and RunStopped where a
        `seq` comes for the second time.
        """
        held: Batch = []
        async for batch in self._noting_breaks(batches):
            left = self._not_done(batch)
            held += left
            if self._expected is None:
                yield held
                held = []
            elif self._most_held_bytes is not None:
                self._held_bytes += sum(map(_memory_bytes, left))
                if self._held_bytes > self._most_held_bytes:
                    raise _too_much(self._most_held_bytes)
        if self._expected is not None:
            raise _other_input(self._expected.rows, self.read)

    async def dealt(
        self, items: AsyncIterator[Batch | LineBlock]
    ) -> AsyncGenerator[Batch | LineBlock, None]:
        """Yields the rows of a run that has done none, in lines if others are to read them.

        Those others tell the digests of their rows; see `note_blocks`. Raises as `remaining` does.
        """
        async for item in self._noting_breaks(items):
            if isinstance(item, LineBlock):
                self.read += item.rows
                yield item
            else:
                yield self._not_done(item)

    def note_blocks(self, number: int, rows: int, digests: bytes) -> None:
        """Takes in what was told of blocks of rows, the first of which has this number, from 0."""
        self._early_blocks[number] = rows, digests
        while (blocks := self._early_blocks.pop(self._digest.rows // BLOCK_ROWS, None)) is not None:
            self._digest.add_blocks(blocks[1], blocks[0])

    async def _noting_breaks(self, batches: AsyncIterator[Item]) -> AsyncIterator[Item]:
        try:
            async for batch in batches:
                yield batch
        except InputBroken as error:
            self._broken = not error.changing
            raise

    def _not_done(self, batch: Batch) -> Batch:
        seqs = [item.seq for item in batch]
        twice = None if not seqs or self._seen.add_next(seqs) else self._first_twice(seqs)
        new = batch if twice is None else batch[:twice]
        if self._expected is not None and self.read + len(new) >= self._expected.rows:
            upto = self._expected.rows - self.read
            self._note(new[:upto])
            self._compare(self._expected)
            self._note(new[upto:])
        else:
            self._note(new)
        if twice is not None:
            raise _seq_twice(seqs[twice])
        if not len(self._done):
            return batch
        left = [item for item in batch if item.seq not in self._done]
        self.skipped += len(batch) - len(left)
        return left

    def _first_twice(self, seqs: list[int]) -> int | None:
        """Takes the rows in one by one: the index of the first that was there, if there is one."""
        add = self._seen.add
        return next((at for at, seq in enumerate(seqs) if not add(seq)), None)

    def _note(self, rows: Batch) -> None:
        """Takes some rows into account, all at once."""
        self.read += len(rows)
        self._digest.update([*map(digested, rows)])

    def _compare(self, expected: Prefix) -> None:
        if self._digest.hexdigest() != expected.sha256:
            raise _other_input(expected.rows, None)
        self._expected = None


def _seq_twice(seq: int) -> RunStopped:
    return RunStopped(
        f"two rows of the input have the seq {seq}, so that their results could not be told apart",
        hint="give each result row of the input a seq of its own, or leave the column out",
    )


_HEAD = struct.Struct("<Q4I")


def digested(item: Record | Result) -> bytes:
    """The content of a row with every boundary in it."""
    if isinstance(item, Result):
        return _boxed(item.seq, b"result", item.id, item.code, _kept(item.kept))
    context, kept = item.encryption_context, item.kept
    row = _boxed(item.seq, item.plaintext, item.id, item.key_id, context)
    if item.ciphertext is not None:
        row += _boxed(item.seq, b"", item.ciphertext, item.data_key, item.destination_context)
    return row if kept is None else row + _boxed(item.seq, b"", _kept(kept), None, None)


def _boxed(seq: int, content: bytes, name: str, second: str | None, third: str | None) -> bytes:
    named = name.encode()
    more, most = (second or "").encode(), (third or "").encode()
    head = _HEAD.pack(seq, len(content), len(named), len(more), len(most))
    return b"".join((head, content, named, more, most))


def _kept(kept: dict[str, Any] | None) -> str:
    return "" if kept is None else msgspec.json.encode(kept).decode()


def _memory_bytes(item: Record | Result) -> int:
    return _ROW_BYTES + (item.size_bytes if isinstance(item, Record) else len(item.message or ""))


def _too_much(most_bytes: int) -> InputError:
    return InputError(
        "the rows to be done take more memory than can be held until the whole input was compared "
        f"with that of the run ({most_bytes // 1024**2:,} MiB)",
        hint="a file can be compared beforehand: name the input by --input FILE, with the very "
        "bytes that came through the pipe",
    )


def _other_input(rows: int, found: int | None) -> InputError:
    what = (
        f"its first {rows:,} rows are not those that the earlier run has read"
        if found is None
        else f"it has {found:,} rows, and the earlier run has read {rows:,}"
    )
    return InputError(
        f"this is another input: {what}",
        hint="resume with the input that the run began with, or begin anew with --overwrite",
    )


def input_description(path: str, *, format: str, size_bytes: int | None) -> dict[str, Any]:
    """An input as the manifest keeps it, with the SHA-256 of its head if it is a file."""
    described: dict[str, Any] = {
        "path": path if path == "-" else path_text(path),
        "format": format,
    }
    if size_bytes is not None:
        described["size_bytes"] = size_bytes
    if path != "-" and (head := _head(Path(path))) is not None:
        described["head_sha256"] = hashlib.sha256(head).hexdigest()
    return described


def path_text(path: str) -> str:
    """The absolute path as text, whatever bytes are in it."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")


def _head(path: Path) -> bytes | None:
    try:
        # Opening a FIFO here would take its first bytes away from the run.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return None
