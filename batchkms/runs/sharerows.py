"""The rows of the outputs of several shares, as they were written, each file checked to its end.

Memory does not grow with the rows: files are read side by side, and where the rows of one do not
come in order, their places lie in a temporary file.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from batchkms.errors import ConfigError
from batchkms.runs.fileoutput import sums_path
from batchkms.runs.files import regular_file
from batchkms.runs.resultfile import (
    BadResultFile,
    ResultRow,
    read_results,
    row_at,
    sink_of_output,
)
from batchkms.runs.rowindex import HELD_BLOCKS, RowIndex, TooFarApart
from batchkms.runs.rowsums import read_sums
from batchkms.runs.shares import NotAsLeft, Share

_LEAST_HELD_BLOCKS = 8


def rows_of_all(shares: Sequence[Share], *, ordered: bool) -> Iterator[ResultRow]:
    """Yields the rows of all shares: one share after the other or, `ordered`, by their `seq`.

    Raises NotAsLeft at the latest when the file was read in which something was changed, and
    ConfigError where one cannot be read.
    """
    if not ordered:
        for share in shares:
            yield from rows_of(share)
        return
    with ExitStack() as stack:
        held_blocks = max(_LEAST_HELD_BLOCKS, HELD_BLOCKS // len(shares))
        streams = [
            _ascending(share) if _is_ascending(share) else _sorted(share, held_blocks, stack)
            for share in shares
        ]
        yield from heapq.merge(*streams, key=_seq)


def rows_of(share: Share) -> Iterator[ResultRow]:
    """Yields the rows of one share as they are in its file. Raises as `rows_of_all` does."""
    output = share.content["output"]
    sink = sink_of_output(output)
    digest = hashlib.sha256(sink.header())
    try:
        with share.path.open("rb") as file:
            for row in read_results(file, sink, lax=False):
                digest.update(row.raw)
                yield row
    except BadResultFile as bad:
        raise NotAsLeft(share.path, f"line {bad.line}: {bad.reason}") from None
    except OSError as error:
        raise _unreadable(share, error) from None
    if digest.hexdigest() != output["sha256"]:
        raise _other_digest(share)


def _seq(row: ResultRow) -> int:
    return row.result.seq


def _is_ascending(share: Share) -> bool:
    """Whether the rows come in the order of their numbers, as the checksums beside them say."""
    before = -1
    try:
        with regular_file(sums_path(share.path)) as file:
            for sum_ in read_sums(file):
                if sum_.seq <= before:
                    return False
                before = sum_.seq
    except OSError:
        # Nothing says so: looking at the rows themselves takes a reading more.
        return False
    return True


def _ascending(share: Share) -> Iterator[ResultRow]:
    before = -1
    for row in rows_of(share):
        if _seq(row) <= before:
            sums = sums_path(share.path).name
            raise NotAsLeft(
                share.path, f"line {row.line}: row {_seq(row)} is not where {sums} has it"
            )
        before = _seq(row)
        yield row


def _sorted(share: Share, held_blocks: int, stack: ExitStack) -> Iterator[ResultRow]:
    """The rows by their numbers, in whatever order they lie in the file."""
    index = stack.enter_context(RowIndex(held_blocks=held_blocks))
    sink = sink_of_output(share.content["output"])
    try:
        file = stack.enter_context(share.path.open("rb"))
    except OSError as error:
        raise _unreadable(share, error) from None
    offset, checked = len(sink.header()), 0
    for row in rows_of(share):
        try:
            new = index.add(_seq(row), offset, 0)
        except TooFarApart:
            refuse_changed([share])
            raise ConfigError(
                f"{share.path}, line {row.line}: the numbers (seq) of its rows lie too far apart "
                "to be put in order",
                hint="merge without --ordered",
            ) from None
        if not new:
            refuse_changed([share])
            raise seq_twice(share, row)
        checked += hash(row.raw)
        offset += len(row.raw)
    for _, place in index.all_rows():
        try:
            row = row_at(file, sink, place.offset, lax=False)
        except BadResultFile:
            break
        except OSError as error:
            raise _unreadable(share, error) from None
        checked -= hash(row.raw)
        yield row
    if checked:
        # The digest was right a moment ago.
        raise NotAsLeft(share.path, "it was changed while it was merged")


def refuse_changed(shares: Sequence[Share]) -> None:
    """Raises NotAsLeft for a file that was changed: numbers that make no sense may come of that.

    The digest of a file is known only at its end, and such a number comes before. Raises
    ConfigError where one cannot be read.
    """
    for share in shares:
        try:
            with share.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(share, error) from None
        if digest != share.content["output"]["sha256"]:
            raise _other_digest(share)


def seq_twice(share: Share | None, row: ResultRow) -> ConfigError:
    """The error for a number that comes for the second time; None is any of the shares."""
    where = "the shares" if share is None else str(share.path)
    return ConfigError(
        f"{where} have two rows with the seq {_seq(row)}, so that their results could not be told "
        "apart",
        hint="give each row of the input a seq of its own, and do the shares again",
    )


def _other_digest(share: Share) -> NotAsLeft:
    return NotAsLeft(share.path, "its digest is not that of its manifest")


def _unreadable(share: Share, error: OSError) -> ConfigError:
    return ConfigError(
        f"{share.path} cannot be read: {error.strerror}",
        hint="check the path and its permissions; many shares need a higher limit of open files "
        "(ulimit -n)",
    )
