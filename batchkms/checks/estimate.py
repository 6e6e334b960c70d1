"""What a run would take: calls, time, money, and room on the disk. Pure but for `free_disk_bytes`.

Prices and lengths are those of the KMS documentation (1030/31966) and of public samples of
ciphertext blobs; neither is promised.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from batchkms.quota import GUARD_S, WINDOW_S, Group
from batchkms.records import Result
from batchkms.runs.rowsums import RECORD_BYTES

FREE_CALLS = 20_000
"""So many calls a month cost nothing."""

USD_PER_CALL = 0.18 / 10_000

_HANDLE_CHARS = 88
_FINGERPRINT_CHARS = 24
_SEPARATORS_CHARS = 2 * len("-k-")
_UUID = "0" * 36
"""As long as a key id or a RequestId in every published example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """In USD, by the list. How much of this month's free calls is left cannot be asked for.

    Whether a throttled call costs is documented nowhere, so that retries may come on top.
    """

    least: float
    """If none of the free calls were used."""
    most: float
    """If all of them were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the calls take that a run waits for longest, and the rate that they keep to."""

    seconds: float
    per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would take."""

    calls: int
    per_second: int | None
    """The rate that is aimed at; None without a limit."""
    pace: Pace | None
    """With no retries; None without a limit."""
    price: Price
    output_bytes: int
    """About what the results take, with the files beside them."""
    free_bytes: int | None
    """What is free where the output goes; None where that is no disk, or is not known."""

    @property
    def seconds(self) -> float | None:
        """How long it takes; None without a limit."""
        return None if self.pace is None else self.pace.seconds

    @property
    def fits(self) -> bool:
        """Whether the disk has room for the output, as far as known."""
        return self.free_bytes is None or self.output_bytes <= self.free_bytes


def less_reserve(rate: int | None, reserve: float) -> int | None:
    """The rate less the share (0 to 1) that is left to others, at least 1. None for no limit."""
    return None if rate is None else max(1, int(rate * (1 - reserve)))


def seconds_for(calls: int, per_second: int | None) -> float | None:
    """How long so many calls take at this rate. None without a limit.

    The service must keep up, and so must `--concurrency`: at the default of 64, answers may take
    up to 64 / rate seconds.
    """
    if per_second is None:
        return None
    # The window of the quota is held with a guard, which costs a little of the rate.
    return calls / per_second * (WINDOW_S + GUARD_S)


def pace_of(calls: Mapping[Group, int], per_second: Mapping[Group, int | None]) -> Pace | None:
    """How long calls take that are made side by side, each group at its own rate.

    None without a limit.
    """
    paces = [
        Pace(seconds=seconds, per_second=rate)
        for group, rate in per_second.items()
        if rate is not None and (seconds := seconds_for(calls[group], rate)) is not None
    ]
    return max(paces, key=lambda pace: pace.seconds, default=None)


def price_of(calls: int) -> Price:
    """What so many calls cost within one month."""
    return Price(
        least=max(0, calls - FREE_CALLS) * USD_PER_CALL,
        most=calls * USD_PER_CALL,
    )


def blob_chars(plaintext_bytes: int) -> int:
    """The length of the ciphertext blob of a plaintext, as public samples have it."""
    payload_bytes = 20 + 16 * (plaintext_bytes // 16 + 1)
    payload_chars = 4 * math.ceil(payload_bytes / 3)
    return _HANDLE_CHARS + _FINGERPRINT_CHARS + payload_chars + _SEPARATORS_CHARS


def output_bytes(
    sizes: Mapping[int, int],
    *,
    written_chars: Callable[[int], int] = blob_chars,
    id_bytes: int,
    context_bytes: int = 0,
    with_context: int = 0,
    failing: int = 0,
    failing_bytes: int = 0,
    kept_bytes: int = 0,
) -> int:
    """About how much results take, as JSONL, with their checksums.

    `sizes` says how many rows hold so much, and `written_chars` what becomes of one of them; the
    other sizes are of all rows together. CSV takes a little less.
    """
    rows = sum(sizes.values())
    empty = Result(
        seq=max(1, rows),
        id="",
        status="ok",
        key_id=_UUID,
        ciphertext="",
        request_id=_UUID,
        attempts=1,
        latency_ms=12.345,
    )
    around = len(msgspec.json.encode(empty)) + 1
    return (
        rows * around
        + id_bytes
        + sum(written_chars(size) * count for size, count in sizes.items())
        + context_bytes
        + with_context * len(',"encryption_context":')
        + failing_bytes
        + kept_bytes
        + (rows + failing) * RECORD_BYTES
    )


def free_disk_bytes(folder: str) -> int | None:
    """What is free for this user on the disk of a folder; None if that cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
