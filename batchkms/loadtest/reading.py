"""Reads back what a load test has left: its calls one by one, and its record.

Figures made of a file that was damaged would be wrong without a sign of it, so that anything
which no load test writes is an error that names the line.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import msgspec

from batchkms.errors import InputError
from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.runrecord import MaxRateRecord, RunRecord, record_path
from batchkms.records import ErrorClass
from batchkms.runs.files import read_small
from batchkms.sources.gunzip import GZIP_MAGIC, StreamBroken, gunzip
from batchkms.sources.lines import LineSplitter, Piece

LONGEST_LINE_BYTES = 64 * 1024
"""Over any line that is ever written."""

LONGEST_S = 1e8
"""No test takes three years; whatever says so is damaged."""

MOST_ACTIONS = 64
"""Figures are kept of each action: there are four."""

MOST_RECORD_BYTES = 16 * 1024 * 1024
MOST_SETTINGS = 1000
DEEPEST_SETTING = 8
"""Far over what is ever written."""

_CHUNK_BYTES = 256 * 1024
_CLASSES = frozenset([OK, *ErrorClass])
_LATEST_S = 253402300799.0
"""The end of the year 9999 in Unix time."""

_decode = msgspec.json.Decoder(Call).decode


def read_calls(path: str | Path) -> Iterator[Call]:
    """Yields the calls of a results file, also of a `.partial` or gzipped one, in their order.

    Memory does not grow with the file. Raises InputError with the line that is wrong.
    """
    try:
        with open(path, "rb") as file:
            yield from _calls(file, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint=_missing_hint(Path(path), error)
        ) from None


def read_record(path: str | Path) -> RunRecord | None:
    """The record beside a results file, None if there is none. Raises InputError."""
    where = record_path(Path(path))
    try:
        content = read_small(where, MOST_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"{where} cannot be read: {error.strerror}",
            hint="check what is there, and its permissions",
        ) from None
    try:
        record = msgspec.json.decode(content, type=RunRecord)
        wrong = _wrong_of_record(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        wrong = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    if wrong is not None:
        raise InputError(
            f"{where} is no record of a load test: {wrong}",
            hint="restore it, or move it away to do without it",
        )
    return record


def is_call(line: bytes) -> bool:
    """Whether a line is one of a load test's results."""
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _calls(file: BinaryIO, path: str | Path) -> Iterator[Call]:
    number, actions = 0, set[str]()
    for lines in _lines(file, path):
        for line in lines:
            number += 1
            try:
                call = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                _refuse(path, number, line)
            wrong = _wrong_of(call)
            if wrong is not None:
                _refuse(path, number, line, wrong)
            if call.action not in actions:
                actions.add(call.action)
                if len(actions) > MOST_ACTIONS:
                    _refuse(path, number, line, f"more than {MOST_ACTIONS} different actions")
            yield call


def _lines(file: BinaryIO, path: str | Path) -> Iterator[list[bytes]]:
    """The lines in lists, as they come. Raises InputError where the file breaks off."""
    splitter, read = LineSplitter(LONGEST_LINE_BYTES), 0
    try:
        for chunk in _chunks(file):
            for lines in splitter.feed(chunk):
                read += len(_whole(lines, path, read))
                yield lines  # type: ignore[misc]  # `_whole` lets nothing else pass
    except StreamBroken as broken:
        raise InputError(
            f"{path}: {broken}, behind line {read:,}",
            hint="copy the file again, or keep what is whole: "
            f"gzip -cd {path} > whole.jsonl, without its last line",
        ) from None
    for rest in splitter.end():
        _whole(rest, path, read)
        if not is_call(rest[0]):
            raise InputError(
                f"{path}: line {read + 1:,}: the file ends in the middle of this line",
                hint="copy the file again; if its test was killed, take that line away",
            )
        yield rest  # type: ignore[misc]  # as above


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    pieces = iter(lambda: file.read(_CHUNK_BYTES), b"")
    first = next(pieces, b"")
    if not first.startswith(GZIP_MAGIC):
        yield first
        yield from pieces
        return

    def compressed() -> Iterator[bytes]:
        yield first
        yield from pieces

    yield from gunzip(compressed())


def _whole(lines: list[bytes] | Piece, path: str | Path, read: int) -> list[bytes]:
    if isinstance(lines, Piece):
        _refuse(path, read + 1, b"", "it is longer than any that a load test writes")
    return lines


def _refuse(path: str | Path, number: int, line: bytes, wrong: str | None = None) -> NoReturn:
    reason, hint = wrong or "it is not a call of a load test", "copy the file again"
    if number == 1 and wrong is None:
        hint = "name the results of batchkms loadtest (-o)"
        if b'"seq"' in line or line.startswith(b"seq,"):
            reason = "it is a row of a batch run's results"
            hint += "; batchkms report takes those by themselves"
    elif b"NaN" in line or b"Infinity" in line:
        reason = "it holds a number that is none (NaN, Infinity)"
    raise InputError(f"{path}: line {number:,}: {reason}", hint=hint)


def _wrong_of(call: Call) -> str | None:
    """What no load test would have written of a call, None if nothing."""
    sent = call.scheduled if call.sent is None else call.sent
    if call.scheduled < 0 or sent < 0:
        return "a time is negative"
    if call.done < call.scheduled or call.done < sent:
        return "the call is done before it was due or sent"
    if call.done > LONGEST_S:
        return "a time is years after the begin"
    if call.outcome not in _CLASSES:
        return "its class is unknown to this batchkms"
    if call.bytes < 0 or call.attempts < 1:
        return "its bytes or attempts cannot be so few"
    return None


def _wrong_of_record(record: RunRecord) -> str | None:
    if not 0 <= record.started_at <= _LATEST_S:
        return "its begin is no time"
    for stage in record.stages:
        rates = (stage.from_rate, stage.to_rate)
        if not (0 < stage.duration_s <= LONGEST_S and all(0 <= r < math.inf for r in rates)):
            return "a stage of it cannot be"
    if record.calls < 0 or record.warmup_s < 0:
        return "a figure of it is negative"
    if len(record.settings) > MOST_SETTINGS:
        return "it has too many settings"
    if not _is_flat(record.settings, DEEPEST_SETTING):
        return "a setting of it is nested too deeply, or a number that is too large"
    if record.max_rate is not None:
        if not _is_flat(record.max_rate, DEEPEST_SETTING):
            return "its max_rate is nested too deeply, or has a number that is too large"
        msgspec.convert(record.max_rate, MaxRateRecord)
    return None


def _is_flat(value: Any, depth: int) -> bool:
    """Whether nothing in it is deeper than that or an integer of more than 64 bits."""
    if isinstance(value, dict):
        return depth > 0 and all(_is_flat(each, depth - 1) for each in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_flat(each, depth - 1) for each in value)
    return not isinstance(value, int) or abs(value) < 2**63


def _missing_hint(path: Path, error: OSError) -> str:
    unfinished = path.with_name(f"{path.name}.partial")
    if error.errno == errno.ENOENT and unfinished.exists():
        return f"the test has not ended, or was killed: name {unfinished}"
    return "check the path and its permissions"
