"""What messages hold, and how it is written."""

from __future__ import annotations

import pickle
import struct
from typing import NamedTuple

import msgspec

from batchkms import errors
from batchkms.engine import Batch
from batchkms.errors import BatchKmsError, InputBroken, RunStopped
from batchkms.runs.lots import Lot
from batchkms.sources.lineblocks import LineBlock
from batchkms.team.counts import Counts

_RESULTS = struct.Struct("<II")
_LINES = struct.Struct("<QQII")

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode
_counts = msgspec.msgpack.Decoder(Counts)


def results_parts(lot: Lot, counts: Counts) -> list[bytes]:
    """A lot of rows with their counts."""
    counted = encode(counts)
    return [_RESULTS.pack(len(counted), len(lot.sums)), counted, lot.sums, lot.data]


def read_results(payload: bytes) -> tuple[Lot, Counts]:
    """The same, read."""
    view = memoryview(payload)
    counts_bytes, sums_bytes = _RESULTS.unpack_from(payload)
    begin = _RESULTS.size + counts_bytes
    counts = _counts.decode(view[_RESULTS.size : begin])
    end = begin + sums_bytes
    return Lot(payload[end:], payload[begin:end]), counts


def rows_part(rows: Batch) -> bytes:
    """Rows as they were read."""
    return pickle.dumps(rows, protocol=5)


def read_rows(payload: bytes) -> Batch:
    """The same, read."""
    rows: Batch = pickle.loads(payload)  # noqa: S301 - from the parent, over a socket nobody else has
    return rows


def lines_parts(block: LineBlock) -> list[bytes]:
    """Lines of the input."""
    numbers = block.lines_before, block.rows_before, block.rows, len(block.too_long)
    too_long = struct.pack(f"<{len(block.too_long)}I", *block.too_long)
    return [_LINES.pack(*numbers), too_long, block.text]


def read_lines(payload: bytes) -> LineBlock:
    """The same, read."""
    lines_before, rows_before, rows, too_long = _LINES.unpack_from(payload)
    begin = _LINES.size + 4 * too_long
    return LineBlock(
        lines_before=lines_before,
        rows_before=rows_before,
        rows=rows,
        too_long=struct.unpack_from(f"<{too_long}I", payload, _LINES.size),
        text=payload[begin:],
    )


class BlockOfRows(NamedTuple):
    """A block of digests: its number, its rows, their digest."""

    number: int
    rows: int
    digest: bytes


class Digests(msgspec.Struct, array_like=True):
    """Blocks that were read, and fields that were seen there for the first time."""

    blocks: list[BlockOfRows]
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
