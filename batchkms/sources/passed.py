"""Rows of an earlier run's result file, which is itself an input.

Such a row keeps its `seq`. One that had failed passes through as it is and is not sent; one
that was ok is a record like any other.
"""

from __future__ import annotations

from binascii import a2b_base64, unhexlify
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from batchkms.kms.scrub import holds, scrub
from batchkms.records import (
    MAX_CONTEXT_CHARACTERS,
    MAX_ID_CHARACTERS,
    EarlierResult,
    Result,
    rejected,
)

_STATUSES = ("ok", "failed")

_CARRIED = (
    *("seq", "id", "status", "key_id", "encryption_context"),
    *("class", "code", "message", "request_id", "attempts"),
)
"""All that passes through of a row that had failed: any other column may be what is secret."""

# It was measured in another run, and the statistics of this one are not to count it.
_READ = (*_CARRIED, "latency_ms")

_MOST = 2**63 - 1
"""The largest number that every reader of a result file takes for an integer."""


def is_result_row(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of a result file: it has a `seq`, and `ok` or `failed` as `status`."""
    return row.get("seq") is not None and row.get("status") in _STATUSES


def passed_on(
    row: Mapping[str, Any],
    ordinal: int,
    line: int,
    *,
    lax: bool = False,
    secret_columns: Collection[str] = ("plaintext",),
) -> int | Result:
    """The `seq` of a row that was ok, or the Result of one that had failed or is damaged.

    `lax` takes numbers that are written as text, as in CSV. What stands in `secret_columns` is
    taken out of what the row says of its failure.
    """
    try:
        seq = msgspec.convert(row["seq"], int, strict=not lax)
        if not 1 <= seq <= _MOST:
            return _damaged(ordinal, line, "its seq is out of range")
        if row["status"] == "ok":
            return seq
        read = {name: row[name] for name in _READ if name in row}
        failed = msgspec.convert(read, EarlierResult, strict=not lax)
    except msgspec.ValidationError:
        # Its text may repeat a value of the row.
        return _damaged(ordinal, line, "a column of it is missing or of the wrong type")
    if failed.error_class is None or failed.code is None:
        return _damaged(ordinal, line, "it does not say what had failed")
    if not 0 <= failed.attempts <= _MOST:
        return _damaged(ordinal, line, "its attempts are out of range")
    if any(len(text or "") > most for text, most in _longest(failed)):
        return _damaged(ordinal, line, "a column of it is longer than any that a run writes")
    failed.latency_ms = None
    for column in secret_columns:
        for secret in _forms(row.get(column)):
            _take_out(failed, secret)
    return failed


def is_own(kept: int | Result) -> bool:
    """Whether what `passed_on` gave has the row's own `seq`, and not its ordinal."""
    return not isinstance(kept, Result) or isinstance(kept, EarlierResult)


def _forms(value: object) -> Iterator[bytes]:
    """What a plaintext's column may stand for: the text, or what it encodes."""
    if not isinstance(value, str) or not value:
        return
    yield value.encode()
    for decode in (a2b_base64, unhexlify):
        try:
            yield decode(value)
        except ValueError:
            continue


def _take_out(failed: EarlierResult, secret: bytes) -> None:
    """Leaves nothing of a secret in what an earlier run said of the failure."""
    if failed.message:
        failed.message = scrub(failed.message, secret)
    if holds(failed.code or "", secret):
        failed.code = "EchoedPlaintext"
    if holds(failed.request_id or "", secret):
        failed.request_id = None


def _longest(row: Result) -> list[tuple[str | None, int]]:
    short = [row.id, row.key_id, row.code, row.message, row.request_id]
    texts = [(text, MAX_ID_CHARACTERS) for text in short]
    return [*texts, (row.encryption_context, MAX_CONTEXT_CHARACTERS)]


def _damaged(ordinal: int, line: int, how: str) -> Result:
    return rejected(
        ordinal,
        None,
        "InvalidResultRow",
        f"line {line}: the row has the status of a result row, but {how}; "
        "take the result file as it was written, or leave out its seq column",
    )
