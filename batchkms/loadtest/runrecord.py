"""What is kept of a load test beside its calls: how it was set, and how the generator did.

It is written beside the results as `OUT.run.json`, and is what a report is headed with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec


class StageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of the schedule: rates in calls per second."""

    duration_s: float
    from_rate: float
    to_rate: float


class SloRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How one SLO came out. `measured` is in ms for latencies, a share of 1 for `errors<0.1%`.

    `failed_windows` are the begins, in seconds, of windows that broke it; empty over a whole run.
    """

    text: str
    held: bool
    measured: float
    windows: int = 0
    failed_windows: list[float] = []


class GeneratorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How the generator itself did. Shares are of 1.

    `late` is the share of calls that it began more than 10 ms after they were due, though
    nothing but itself was in the way; `lag_p99_ms` and `lag_max_ms` are how late the event loop
    was for a timer; `blocked_s` is how long calls were due that had no connection, because of
    `--max-connections`. Of several processes `cpu_share` is the sum, and lags and waits are those
    of the one that was worst.
    """

    cpu_share: float
    late: float
    late_p99_ms: float
    late_max_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    blocked_s: float
    processes: int = 1


class ConnectionsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of a run: how many were opened, the most at once, and how long it took."""

    opened: int
    most: int
    connect_p50_ms: float
    connect_max_ms: float
    tls_p50_ms: float | None = None
    tls_max_ms: float | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the search for the highest rate; see `steps.Step`."""

    rate: float | None = None
    asked_s: float | None = None
    took_s: float | None = None
    held: bool | None = None
    valid: bool | None = None
    calls: int | None = None
    errors: int | None = None
    measured: dict[str, float] | None = None
    goodput: float | None = None
    lasting: bool | None = None


class MaxRateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of `max_rate`; see `MaxRate.as_json`."""

    rate: float | None = None
    lowest_failed: float | None = None
    limited_by: str | None = None
    held_steps: int | None = None
    held_calls: int | None = None
    held_s: float | None = None
    failed_steps: int | None = None
    goodput: float | None = None
    confirmed: bool | None = None
    confidence: str | None = None
    steps: list[StepRecord] = []


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One load test. `started_at` is Unix time of its first scheduled moment.

    `stages` is empty in the closed model. `invalid` says, in sentences, why the figures are not
    the server's; empty means that they are. `settings` are options as a job file would have them.
    """

    kind: Literal["batchkms loadtest"] = "batchkms loadtest"
    version: str
    started_at: float
    endpoint: str
    state: Literal["finished", "interrupted", "aborted"]
    model: Literal["open", "closed"]
    stages: list[StageRecord]
    warmup_s: float
    actions: dict[str, float]
    settings: dict[str, Any]
    calls: int
    target_rate: float | None
    invalid: list[str]
    notes: list[str] = []
    slos: list[SloRecord]
    generator: GeneratorRecord
    connections: ConnectionsRecord
    max_rate: dict[str, Any] | None = None
    exit_code: int | None = None
    """What the command exited with, as far as its files are not concerned."""

    @property
    def valid(self) -> bool:
        """Whether the generator was able to do what was asked of it."""
        return not self.invalid


def record_path(results: Path) -> Path:
    """Where the record of a results file is."""
    return results.with_name(results.name + ".run.json")
