"""What an input was, so that a later run can tell whether it is the same one.

A file has a size and the digest of its first 64 KiB. Any input, a pipe too, has the digest of the
rows that were read of it so far: it is checked before the first new row is sent.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchkms.errors import InputError, RunStopped
from batchkms.records import Record, Result
from batchkms.rowset import RowSet

HEAD_BYTES = 64 * 1024
"""So much of a file is digested before the run; the rest is while it is read."""

Batch = list[Record | Result]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first rows of an input: how many, and their SHA-256."""

    rows: int
    sha256: str


class InputRows:
    """The rows of one input on their way to the engine, less those that are done.

    `done` are the rows with a result, `expected` the prefix that an earlier run has read. Each
    row's `seq` must be its own, or results could not be told apart.
    """

    def __init__(self, *, done: RowSet | None = None, expected: Prefix | None = None) -> None:
        self.read = 0
        self.skipped = 0
        self._done = done if done is not None else RowSet()
        self._expected = expected
        self._seen = RowSet()
        self._digest = hashlib.sha256()

    def prefix(self) -> Prefix:
        """The rows that were read so far."""
        return Prefix(self.read, self._digest.hexdigest())

    async def remaining(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch, None]:
        """Yields the rows that are not done.

        None is yielded before the expected prefix was found. Raises InputError if another one is
        there instead, and RunStopped where a `seq` comes for the second time.
        """
        held: Batch = []
        async for batch in batches:
            held += self._not_done(batch)
            if self._expected is None:
                yield held
                held = []
        if self._expected is not None:
            raise _other_input(self._expected.rows, self.read)

    def _not_done(self, batch: Batch) -> Batch:
        left: Batch = []
        for item in batch:
            self._check(item)
            if item.seq in self._done:
                self.skipped += 1
            else:
                left.append(item)
        return left

    def _check(self, item: Record | Result) -> None:
        if not self._seen.add(item.seq):
            raise RunStopped(
                f"two rows of the input have the seq {item.seq}, so that their results could not "
                "be told apart",
                hint="give each result row of the input a seq of its own, or leave the column out",
            )
        self.read += 1
        self._digest.update(_digested(item))
        if self._expected is not None and self.read == self._expected.rows:
            if self._digest.hexdigest() != self._expected.sha256:
                raise _other_input(self._expected.rows, None)
            self._expected = None


def _digested(item: Record | Result) -> bytes:
    """The content of a row with every boundary in it."""
    if isinstance(item, Result):
        parts = [b"result", item.id.encode(), (item.code or "").encode()]
    else:
        context = (item.encryption_context or "").encode()
        parts = [item.plaintext, item.id.encode(), (item.key_id or "").encode(), context]
    lengths = ",".join(map(str, map(len, parts)))
    return b"%d:%b:%b" % (item.seq, lengths.encode(), b"".join(parts))


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
