"""Percentiles as HdrHistogram's own tools and plotters read them: `.hgrm` text files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from batchkms.latency import Latencies, highest_of, lowest_of

_TICKS_PER_HALF = 5
"""So many lines from each percentile to the one half as far from 100: what its tools write."""

_BUCKETS, _SUB_BUCKETS = 22, 2048
"""Those of an HdrHistogram of microseconds up to an hour with three digits."""

_HEAD = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"


def hgrm_text(latencies: Latencies) -> str:
    """The percentile distribution, values in milliseconds.

    NOTE: hdrh writes this format too, but its StdDeviation is in other units than its Mean, its
    largest value is that of a bucket, and it takes seconds where a call did.
    (HdrHistogram, `outputPercentileDistribution`.)
    """
    lines = [
        f"{value_ms:12.3f} {share:2.12f} {count:10d}"
        + (f" {1 / (1 - share):14.2f}" if share < 1 else "")
        for value_ms, share, count in _distribution(latencies)
    ]
    deviation_ms = _deviation_ms(latencies)
    lines += [
        f"#[Mean    = {latencies.mean_ms:12.3f}, StdDeviation   = {deviation_ms:12.3f}]",
        f"#[Max     = {latencies.max_ms:12.3f}, Total count    = {latencies.total:12d}]",
        f"#[Buckets = {_BUCKETS:12d}, SubBuckets     = {_SUB_BUCKETS:12d}]",
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _distribution(latencies: Latencies) -> Iterator[tuple[float, float, int]]:
    """Value in ms, share of 1, and how many are not above it: ever finer up to the largest one."""
    count, share = 0, 0.0
    for bucket, here in latencies.buckets():
        count += here
        value_ms = min(highest_of(bucket), latencies.max_us) / 1000
        if count == latencies.total:
            break
        while share <= count / latencies.total + 1e-12:
            yield value_ms, share, count
            halvings = int(math.log2(1 / (1 - share))) + 1
            share += 1 / (_TICKS_PER_HALF * 2**halvings)
    if count:
        if share == 0.0:
            yield value_ms, share, count
        yield value_ms, 1.0, count


def write_hgrm(path: Path, *, from_schedule: Latencies, from_send: Latencies) -> tuple[Path, Path]:
    """Writes the latencies from schedule to `path`, those from send beside it; returns both.

    Raises:
        OSError: a file could not be written.
    """
    beside = send_path(path)
    path.write_text(hgrm_text(from_schedule), encoding="ascii")
    beside.write_text(hgrm_text(from_send), encoding="ascii")
    return path, beside


def send_path(path: Path) -> Path:
    """`run.send.hgrm` for `run.hgrm`."""
    return path.with_name(f"{path.stem}.send{path.suffix}")


def _deviation_ms(latencies: Latencies) -> float:
    """How far the values are from their mean, in the middle of their buckets."""
    if not latencies.total:
        return 0.0
    squares = 0.0
    for bucket, count in latencies.buckets():
        middle_ms = (lowest_of(bucket) + highest_of(bucket)) / 2000
        squares += count * (middle_ms - latencies.mean_ms) ** 2
    return math.sqrt(squares / latencies.total)
