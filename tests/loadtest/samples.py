"""Load tests that were never run: calls and records for whatever is made of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from batchkms.loadtest.call import Call
from batchkms.loadtest.results import CallFile
from batchkms.loadtest.runrecord import (
    ConnectionsRecord,
    GeneratorRecord,
    RunRecord,
    SloRecord,
    StageRecord,
)

HELD = SloRecord(text="errors<50%", held=True, measured=0.02)
FAILED = SloRecord(text="p99<50ms", held=False, measured=1990.5, windows=6, failed_windows=[20.0])


def record(**changes: Any) -> RunRecord:
    """The record of a test of 10 s at 100/s."""
    settings: dict[str, Any] = {"rate": 100, "duration": "10s", "max_connections": 64}
    return RunRecord(
        **{
            "version": "0.1.0",
            "started_at": 1_795_500_000.25,
            "endpoint": "http://127.0.0.1:8899",
            "state": "finished",
            "model": "open",
            "stages": [StageRecord(duration_s=10, from_rate=100, to_rate=100)],
            "warmup_s": 0.0,
            "actions": {"encrypt": 3.0, "decrypt": 1.0},
            "settings": settings,
            "calls": 1000,
            "target_rate": 100.0,
            "invalid": [],
            "slos": [],
            "generator": GeneratorRecord(
                cpu_share=0.2,
                late=0.0004,
                late_p99_ms=0.6,
                late_max_ms=14.0,
                lag_p99_ms=0.9,
                lag_max_ms=8.8,
                blocked_s=0.0,
            ),
            "connections": ConnectionsRecord(
                opened=64, most=64, connect_p50_ms=0.8, connect_max_ms=7.0
            ),
            **changes,
        }
    )


def calls(
    count: int = 1000, *, rate: float = 100.0, seed: int = 1, slower: float = 1.0
) -> Iterator[Call]:
    """Calls at a constant rate, of which a few are slow."""
    chance = random.Random(seed)  # noqa: S311 - a test must be the same each time
    for number in range(count):
        due, latency = number / rate, slower * chance.lognormvariate(-5.0, 0.35)
        if chance.random() < 0.01:
            latency *= 5
        action = "decrypt" if number % 4 == 3 else "encrypt"
        sent = due + 1e-4
        yield Call(due, sent, sent + latency, action, "ok", 812, request_id=f"id-{number}")


def failed(call: Call, outcome: str, code: str, request_id: str | None = "id-failed") -> Call:
    """The same call, but it failed."""
    return Call(
        call.scheduled, call.sent, call.done, call.action, outcome, 400, code, request_id, 2
    )


async def written(path: Path, made: Iterable[Call], noted: RunRecord | None) -> Path:
    """A results file with these calls, published with the record or left as a partial one."""
    file = CallFile(path, overwrite=False)
    file.begin()
    for call in made:
        file.write(call)
    if noted is not None:
        await file.complete(noted)
        return path
    await file.flush()
    await file.abandon(None)
    return path.with_name(f"{path.name}.partial")
