"""Percentiles as HdrHistogram's own tools and plotters read them: `.hgrm` text files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from batchkms.latency import Latencies

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

_TICKS_PER_HALF = 5
"""So many lines from each percentile to the one half as far from 100: what its tools write."""

_HEAD = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"


def hgrm_text(latencies: Latencies) -> str:
    """The percentile distribution, values in milliseconds.

    NOTE: hdrh writes this format too, but its StdDeviation is in other units than its Mean, and
    its largest value that of a bucket. (HdrHistogram, `outputPercentileDistribution`.)
    """
    histogram = latencies.histogram()
    largest = latencies.max_ms
    lines = []
    for at in histogram.get_percentile_iterator(_TICKS_PER_HALF) if latencies.total else ():
        share, count = at.percentile_level_iterated_to / 100, at.total_count_to_this_value
        value = min(at.value_iterated_to / 1000, largest)
        line = f"{value:12.3f} {share:2.12f} {count:10d}"
        lines.append(f"{line} {1 / (1 - share):14.2f}" if share < 1 else line)
    deviation = _deviation_ms(latencies, histogram)
    lines += [
        f"#[Mean    = {latencies.mean_ms:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {largest:12.3f}, Total count    = {latencies.total:12d}]",
        f"#[Buckets = {histogram.bucket_count:12d}, SubBuckets     = "
        f"{histogram.sub_bucket_count:12d}]",
    ]
    return _HEAD + "\n".join(lines) + "\n"


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


def _deviation_ms(latencies: Latencies, histogram: HdrHistogram) -> float:
    if not latencies.total:
        return 0.0
    deviation_us = float(histogram.get_stddev())
    return 0.0 if math.isnan(deviation_us) else deviation_us / 1000
