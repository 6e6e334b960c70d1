"""The figures of a load test that was read back, for programs and in a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkms.latency import Latencies
from batchkms.loadtest.report import target_rate
from batchkms.loadtest.runrecord import RunRecord
from batchkms.loadtest.statistics import Statistics
from batchkms.reporting.html.words import share

POINTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
"""The percentiles that a summary has, by their names in JSON."""


def latency_ms(latencies: Latencies) -> dict[str, float]:
    """Percentiles and maximum in milliseconds; 0 where nothing was counted."""
    values = latencies.percentiles_ms(list(POINTS.values()))
    named = {name: round(value, 3) for name, value in zip(POINTS, values, strict=True)}
    return {**named, "max": round(latencies.max_ms, 3)}


def as_json(statistics: Statistics, records: Sequence[RunRecord]) -> dict[str, Any]:
    """The figures for programs. `valid` is None where no record tells it."""
    return {
        "command": "report",
        "kind": "loadtest",
        "valid": all(record.valid for record in records) if records else None,
        "invalid": [reason for record in records for reason in record.invalid],
        "generators": len(records),
        "calls": statistics.calls,
        "rate": {"target": target_rate(records), "achieved": round(statistics.sent_rate, 3)},
        "latency_ms": {
            "from_schedule": latency_ms(statistics.from_schedule),
            "from_send": latency_ms(statistics.from_send),
        },
        "classes": dict(statistics.by_class),
        "codes": {code: failure.calls for code, failure in statistics.failures.items()},
        "slos": [
            {"slo": slo.text, "held": slo.held, "measured": slo.measured}
            for record in records
            for slo in record.slos
        ],
    }


def as_text(statistics: Statistics, records: Sequence[RunRecord]) -> list[str]:
    """The figures for people, line by line."""
    target = target_rate(records)
    of = "" if target is None else f" of {target:,.1f}/s asked"
    lines = [
        f"  calls: {statistics.calls:,}, {statistics.sent_rate:,.1f}/s sent{of}, "
        f"{statistics.errors:,} failed ({share(statistics.errors, statistics.calls)})",
    ]
    for name, latencies in (
        ("from schedule", statistics.from_schedule),
        ("from send", statistics.from_send),
    ):
        shown = "  ".join(
            f"{'p99.9' if point == 'p999' else point} {value:,.2f}"
            for point, value in latency_ms(latencies).items()
        )
        lines.append(f"  latency ms {name}: {shown}")
    lines += [f"  {name}: {calls:,}" for name, calls in statistics.by_class.most_common() if calls]
    lines += [f"  INVALID: {reason}" for record in records for reason in record.invalid]
    lines += [
        f"  SLO {slo.text}: {'held' if slo.held else 'FAILED'}"
        for record in records
        for slo in record.slos
    ]
    return lines
