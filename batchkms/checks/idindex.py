"""Ids that occur more than once, found exactly and in memory that does not grow with the rows.

Each occurrence is noted as a keyed hash of its id and the row's `seq`, in one of 256 buckets. Once
200,000 are held they are written to a temporary file that has no name, and so on; at the end the
buckets are looked at one after the other. The file holds nothing but hashes, and their key ends
with the process.
"""

from __future__ import annotations

import secrets
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import BinaryIO, Self

BUCKETS = 256

HELD_ROWS = 200_000
"""So many occurrences are held before they are written out: 5 MB."""

NAMED_SEQS = 10
"""So many rows of one id are named."""

DIGEST_BYTES = 16
"""Among 30 million different ids, two have the same hash once in 10**23 inputs."""

_SEQ = struct.Struct("<Q")
_ENTRY = struct.Struct(f"<{DIGEST_BYTES}sQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateId:
    """One id that several rows have: how many, and the `seq` of the first ten of them.

    `digest` stands for the id itself, which is not kept; see `IdIndex.digest`.
    """

    digest: bytes
    rows: int
    seqs: tuple[int, ...]


class IdIndex:
    """Notes the ids of rows. A context manager, as it may hold a temporary file.

    `held_rows` bounds the occurrences in memory. A `seq` is a number below 2**64.
    """

    def __init__(self, *, held_rows: int = HELD_ROWS) -> None:
        self._held_rows = held_rows
        self._hash = blake2b(digest_size=DIGEST_BYTES, key=secrets.token_bytes(32))
        self._buckets = [bytearray() for _ in range(BUCKETS)]
        self._held = 0
        self._file: BinaryIO | None = None
        # Of each time they were written out: where each bucket begins, and where the last ends.
        self._spilled: list[tuple[int, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def digest(self, row_id: str) -> bytes:
        """What stands for an id in this index and in no other."""
        # A copy has the key hashed already: half the time of beginning anew.
        hashed = self._hash.copy()
        hashed.update(row_id.encode("utf-8", "surrogatepass"))
        return hashed.digest()

    def add(self, row_id: str, seq: int) -> None:
        """Notes one occurrence. Raises OSError where the temporary file cannot be written."""
        digest = self.digest(row_id)
        self._buckets[digest[0]] += digest + _SEQ.pack(seq)
        self._held += 1
        if self._held >= self._held_rows:
            self._spill()

    def duplicates(self, bucket: int) -> Iterator[DuplicateId]:
        """Yields the duplicates of one of the 256 buckets. Raises OSError."""
        seen: set[bytes] = set()
        twice: dict[bytes, list[int]] = {}
        for digest, _ in self._entries(bucket):
            if digest in seen:
                twice[digest] = []
            else:
                seen.add(digest)
        if not twice:
            return
        seen.clear()
        rows = dict.fromkeys(twice, 0)
        for digest, seq in self._entries(bucket):
            if digest in rows:
                rows[digest] += 1
                if len(twice[digest]) < NAMED_SEQS:
                    twice[digest].append(seq)
        for digest, seqs in twice.items():
            yield DuplicateId(digest=digest, rows=rows[digest], seqs=tuple(seqs))

    def _entries(self, bucket: int) -> Iterator[tuple[bytes, int]]:
        """Digest and `seq` of every occurrence in a bucket, in the order they were noted."""
        for places in self._spilled:
            yield from _ENTRY.iter_unpack(self._read(places[bucket], places[bucket + 1]))
        yield from _ENTRY.iter_unpack(self._buckets[bucket])

    def _read(self, begin: int, end: int) -> bytes:
        if self._file is None:
            raise RuntimeError("nothing was written out")
        self._file.seek(begin)
        return self._file.read(end - begin)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="batchkms-")  # noqa: SIM115 - `__exit__` closes it
        places = [self._spilled[-1][-1] if self._spilled else 0]
        self._file.seek(places[0])
        for bucket in self._buckets:
            self._file.write(bucket)
            places.append(places[-1] + len(bucket))
            bucket.clear()
        self._file.flush()
        self._spilled.append(tuple(places))
        self._held = 0
