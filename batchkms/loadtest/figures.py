"""The figures of a load test that was read back, for programs and in a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkms.loadtest.report import target_rate
from batchkms.loadtest.runrecord import RunRecord
from batchkms.loadtest.statistics import Statistics
from batchkms.loadtest.summary import latency_ms, percentiles_text
from batchkms.reporting.html.words import share


def as_json(statistics: Statistics, records: Sequence[RunRecord]) -> dict[str, Any]:
    """The figures for programs. `valid` is None where no record tells it."""
    return {
        "command": "report",
        "kind": "loadtest",
        "valid": all(record.valid for record in records) if records else None,
        "invalid": [reason for record in records for reason in record.invalid],
        "generators": len(records),
        "calls": statistics.calls,
        "rate": {
            "target": target_rate(statistics, records),
            "achieved": round(statistics.sent_rate, 3),
            "ok": round(statistics.ok_rate, 3),
        },
        "latency_ms": {
            "from_schedule": latency_ms(statistics.from_schedule),
            "from_send": latency_ms(statistics.from_send),
        },
        "classes": dict(statistics.by_class),
        "codes": {code: failure.calls for code, failure in statistics.failures.items()},
        "slos": [
            {"text": slo.text, "held": slo.held, "measured": slo.measured}
            for record in records
            for slo in record.slos
        ],
    }


def as_text(statistics: Statistics, records: Sequence[RunRecord]) -> list[str]:
    """The figures for people, line by line."""
    target = target_rate(statistics, records)
    of = "" if target is None else f" of {target:,.1f}/s asked"
    lines = [
        f"  calls: {statistics.calls:,}, {statistics.sent_rate:,.1f}/s sent{of}, "
        f"{statistics.errors:,} failed ({share(statistics.errors, statistics.calls)})",
    ]
    for name, latencies in (
        ("from schedule", statistics.from_schedule),
        ("from send", statistics.from_send),
    ):
        lines.append(f"  latency ms {name}: {percentiles_text(latencies)}")
    lines += [f"  {name}: {calls:,}" for name, calls in statistics.by_class.most_common() if calls]
    lines += [f"  INVALID: {reason}" for record in records for reason in record.invalid]
    lines += [
        f"  SLO {slo.text}: {'held' if slo.held else 'FAILED'}"
        for record in records
        for slo in record.slos
    ]
    return lines
