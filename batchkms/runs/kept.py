"""The rows that an earlier run has done: read from the partial file, kept, never sent again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from batchkms.errors import ConfigError
from batchkms.records import Result
from batchkms.rowset import RowSet, TooFarApart
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.resultfile import BadResultFile, read_results
from batchkms.sinks.base import Sink
from batchkms.tally import Tally

_LOT_ROWS = 1_000

DAMAGE_AT_END_BYTES = 8 * 1024 * 1024
"""So much at the end of a file may be lost to a power failure, which leaves blocks of zeros or of
older data where rows were not synced yet. Damage before that has another cause, and cutting
the file there would throw away rows that are good."""


@dataclass(slots=True)
class Kept:
    """What is kept: which rows, and how they count."""

    rows: RowSet = field(default_factory=RowSet)
    cut_bytes: int = 0
    """How much was cut off at the end."""


def keep_partial(output: FileOutput, sink: Sink, tally: Tally) -> Kept:
    """Opens the partial file of an earlier run and keeps every whole row in it.

    A torn row at the end is cut off; its record will be sent again. Raises ConfigError if
    another run writes the file, or if it is damaged in a way that no dying run leaves.
    """
    kept = Kept()
    with os.fdopen(output.reopen(), "rb") as file:
        whole_bytes = os.fstat(file.fileno()).st_size
        header = sink.header()
        rows: list[bytes] = []
        seqs: list[int] = []
        try:
            for row in read_results(file, sink, lax=False):
                try:
                    new = kept.rows.add(row.result.seq)
                except TooFarApart as error:
                    raise _edited(output, row.line, str(error)) from None
                if not new:
                    reason = f"row {row.result.seq} has a result already on an earlier line"
                    raise _edited(output, row.line, reason)
                count_kept(tally, row.result)
                rows.append(row.raw)
                seqs.append(row.result.seq)
                if len(rows) == _LOT_ROWS:
                    _adopt(output, header, rows, seqs)
                    rows, seqs = [], []
            header_is_there = whole_bytes > 0
        except BadResultFile as bad:
            if not bad.torn and _is_no_loss_of_power(output, bad, whole_bytes):
                raise _damaged(output, bad) from None
            header_is_there = bad.offset > 0
    if header_is_there or rows:
        _adopt(output, header, rows, seqs)
    kept.cut_bytes = whole_bytes - output.size_bytes
    output.cut()
    return kept


def _is_no_loss_of_power(output: FileOutput, bad: BadResultFile, whole_bytes: int) -> bool:
    """Whether damage is of another kind than a power failure leaves at the end of a file.

    That leaves zeros or nothing where rows were not synced; text there was put by somebody, and
    good rows may follow it.
    """
    if whole_bytes - bad.offset > DAMAGE_AT_END_BYTES:
        return True
    with output.partial.open("rb") as file:
        file.seek(bad.offset)
        rest = file.read()
    return b"\0" not in rest[: rest.find(b"\n") + 1 or len(rest)] and rest.count(b"\n") > 1


def _adopt(output: FileOutput, header: bytes, rows: list[bytes], seqs: list[int]) -> None:
    before = [header] if header and not output.size_bytes else []
    output.adopt([*before, *rows], seqs)


def count_kept(tally: Tally, result: Result) -> None:
    """Counts a row of an earlier run; its latency is no latency of this one."""
    latency_ms, result.latency_ms = result.latency_ms, None
    tally.rows += 1
    tally.kept += 1
    tally.kept_calls += result.attempts
    tally.count(result)
    result.latency_ms = latency_ms


def _edited(output: FileOutput, line: int, reason: str) -> ConfigError:
    return ConfigError(
        f"{output.partial}, line {line}: {reason}",
        hint="the file was changed since a run wrote it; begin anew with --overwrite",
    )


def _damaged(output: FileOutput, bad: BadResultFile) -> ConfigError:
    return ConfigError(
        f"{output.partial}, line {bad.line}: {bad.reason}",
        hint="no run that dies leaves this, and good rows may follow it: restore the file or take "
        "the line out, or begin anew with --overwrite",
    )
