"""Messages between a parent and a member: their kinds, what they hold, and how it is written.

frame    kind (1 byte) | payload
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from batchkms import errors
from batchkms.engine import Batch
from batchkms.errors import BatchKmsError, InputBroken, RunStopped
from batchkms.runs.lots import Lot
from batchkms.sources.lineblocks import LineBlock
from batchkms.team.counts import Counts
from batchkms.team.ring import Place, RingReader, RingWriter

_RESULTS = struct.Struct("<IIQI")
_LINES = struct.Struct("<QQIIQI")


class Kind(IntEnum):
    """What a message is. To the member, then from it."""

    JOB = 1
    """All that it needs to begin; the first one."""
    ROWS = 2
    """Rows to do, as they were read."""
    LINES = 3
    """Lines of the input, of which it is to make rows itself."""
    PERMITS = 4
    LIMITS = 5
    """Which quota groups have a limit."""
    CONCURRENCY = 6
    NO_MORE = 7
    """No more rows will come."""
    DRAIN = 8
    STOP = 9

    READY = 20
    RESULTS = 21
    DIGESTS = 22
    """Digests of blocks of rows, and fields that were seen in them."""
    WANTED = 23
    """So many permits more are waited for."""
    THROTTLED = 24
    STATUS = 25
    ENDED = 26
    """The last one: how it came out."""


def head(kind: Kind) -> bytes:
    """What the frame of a message begins with."""
    return bytes((kind,))


def read_frame(frame: bytes) -> tuple[Kind, memoryview]:
    """Which message it is, and its payload."""
    return Kind(frame[0]), memoryview(frame)[1:]


encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode
_counts = msgspec.msgpack.Decoder(Counts)


def results_parts(
    lots: Sequence[Lot], counts: Counts, ring: RingWriter | None
) -> list[bytes | memoryview]:
    """Lots of rows in their order, with the counts of all; in the ring, if it has room for them."""
    counted, data = encode(counts), [lot.data for lot in lots]
    sums = b"".join([lot.sums for lot in lots])
    place = None if ring is None else ring.put(data)
    packed = _RESULTS.pack(len(counted), len(sums), *(place or (0, 0)))
    return [packed, counted, sums, *([] if place else data)]


def read_results(payload: memoryview, ring: RingReader | None) -> tuple[Lot, Counts]:
    """The same, read. Raises ValueError."""
    counts_bytes, sums_bytes, *place = _RESULTS.unpack_from(payload)
    begin = _RESULTS.size + counts_bytes
    counts = _counts.decode(payload[_RESULTS.size : begin])
    end = begin + sums_bytes
    sums = bytes(payload[begin:end])
    if ring is not None and place[0]:
        data, let_go = ring.part(Place(*place))
        return Lot(data, sums, let_go), counts
    return Lot(bytes(payload[end:]), sums), counts


def rows_part(rows: Batch) -> bytes:
    """Rows as they were read."""
    return pickle.dumps(rows, protocol=5)


def read_rows(payload: memoryview) -> Batch:
    """The same, read."""
    rows: Batch = pickle.loads(payload)  # noqa: S301 - from the parent, over a socket nobody else has
    return rows


def lines_parts(block: LineBlock, ring: RingWriter | None) -> list[bytes | memoryview]:
    """Lines of the input. Their text is in the ring, if it has room for it."""
    numbers = block.lines_before, block.rows_before, block.rows, len(block.too_long)
    place = None if ring is None else ring.put(block.pieces)
    too_long = struct.pack(f"<{len(block.too_long)}I", *block.too_long)
    packed = _LINES.pack(*numbers, *(place or (0, 0)))
    return [packed, too_long, *(() if place else block.pieces)]


def read_lines(payload: memoryview, ring: RingReader | None) -> LineBlock:
    """The same, read. Raises ValueError."""
    lines_before, rows_before, rows, too_long, *place = _LINES.unpack_from(payload)
    begin = _LINES.size + 4 * too_long
    if ring is not None and place[0]:
        part, let_go = ring.part(Place(*place))
        text = bytes(part)
        let_go()
    else:
        text = bytes(payload[begin:])
    return LineBlock(
        lines_before=lines_before,
        rows_before=rows_before,
        rows=rows,
        too_long=struct.unpack_from(f"<{too_long}I", payload, _LINES.size),
        pieces=(text,),
    )


class BlocksOfRows(NamedTuple):
    """Blocks that follow one another: the number of the first, their rows, their digests joined."""

    number: int
    rows: int
    digests: bytes


class Digests(msgspec.Struct, array_like=True):
    """Blocks that were read, and fields that were seen there for the first time."""

    blocks: list[BlocksOfRows]
    seen: list[str]


class Failed(msgspec.Struct, array_like=True):
    """What stopped a member. `kind` is the name of its exception."""

    kind: str
    message: str
    hint: str | None
    changing: bool = False

    @staticmethod
    def of(error: BatchKmsError) -> Failed:
        """Something that is to be raised in the parent."""
        changing = isinstance(error, InputBroken) and error.changing
        return Failed(type(error).__name__, str(error), error.hint, changing)

    def error(self) -> BatchKmsError:
        """The same to be raised."""
        kind = getattr(errors, self.kind, RunStopped)
        if kind is InputBroken:
            return InputBroken(self.message, hint=self.hint, changing=self.changing)
        if not (isinstance(kind, type) and issubclass(kind, (RunStopped, errors.ConfigError))):
            kind = errors.InputError if kind is errors.InputError else RunStopped
        made: BatchKmsError = kind(self.message, hint=self.hint)
        return made
