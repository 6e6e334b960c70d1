"""Calls and records to count, as short as a test wants them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.runrecord import (
    ConnectionsRecord,
    GeneratorRecord,
    RunRecord,
    StageRecord,
)
from batchkms.loadtest.statistics import Statistics


def call(at: float, latency: float = 0.01, outcome: str = OK, **more: Any) -> Call:
    """A call that was due at a time, sent then, and took so long."""
    values = {"sent": at, "action": "encrypt", "bytes": 100, **more}
    return Call(scheduled=at, done=at + latency, outcome=outcome, **values)


def statistics(*calls: Call, due_in_s: tuple[float, float] | None = None) -> Statistics:
    """The figures of these calls, which were due in this time."""
    made = Statistics()
    made.due_in_s = due_in_s
    for each in calls:
        made.count(each)
    return made


def record(**more: Any) -> RunRecord:
    """A record of a run at 100 calls a second that went well."""
    values: dict[str, Any] = {
        "version": "1.2.3",
        "started_at": 1_700_000_000.0,
        "endpoint": "https://kms.example",
        "state": "finished",
        "model": "open",
        "stages": [StageRecord(duration_s=10, from_rate=100, to_rate=100)],
        "warmup_s": 0.0,
        "actions": {"encrypt": 1.0},
        "settings": {},
        "calls": 1_000,
        "target_rate": 100.0,
        "invalid": [],
        "slos": [],
        "generator": GeneratorRecord(
            cpu_share=0.25,
            late=0.001,
            late_p99_ms=1.0,
            late_max_ms=12.0,
            lag_p99_ms=1.5,
            lag_max_ms=3.0,
            blocked_s=0.0,
        ),
        "connections": ConnectionsRecord(opened=12, most=8, connect_p50_ms=0.3, connect_max_ms=1.2),
    }
    return RunRecord(**{**values, **more})


def _call(at: float, wait: float, latency: float, outcome: str, sent: bool) -> Call:
    return Call(
        scheduled=at,
        sent=at + wait if sent else None,
        done=at + wait + latency,
        action="encrypt",
        outcome=outcome,
        bytes=100,
    )


some_calls = st.lists(
    st.builds(
        _call,
        st.floats(0, 59.99),
        st.floats(0, 2),
        st.floats(0, 5),
        st.sampled_from([OK, OK, OK, "throttled", "network"]),
        st.booleans(),
    ),
    max_size=120,
)
"""Calls that were due within a minute."""
