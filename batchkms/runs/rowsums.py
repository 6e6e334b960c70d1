"""A checksum of every result row, in a file beside the results: `OUT.run.sums`.

The digest in the manifest tells that a result file was changed; these tell which row. Each
record has 12 bytes, little-endian, in the order of the rows: `seq` (8) and the CRC-32 of the
row's bytes with its line end (4). They find accidents and edits; a forger could match them, so
that only the digest proves anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple
from zlib import crc32

_RECORD = struct.Struct("<QI")
RECORD_BYTES = _RECORD.size
_READ_RECORDS = 8192


class RowSum(NamedTuple):
    """Which row it is, and the checksum of its bytes."""

    seq: int
    crc: int


def packed(seqs: Iterable[int], rows: Iterable[bytes]) -> bytes:
    """The records of some rows."""
    pack = _RECORD.pack
    return b"".join([pack(seq, crc32(row)) for seq, row in zip(seqs, rows, strict=True)])


def read_sums(file: BinaryIO) -> Iterator[RowSum]:
    """The records of a file, up to the last whole one."""
    while data := file.read(_READ_RECORDS * RECORD_BYTES):
        whole = len(data) - len(data) % RECORD_BYTES
        for seq, crc in _RECORD.iter_unpack(data[:whole]):
            yield RowSum(seq, crc)
