"""The end of a run in numbers and words: exit code, summary as text or JSON, what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from batchkms.errors import BatchKmsError, verdict_for
from batchkms.reporting.shardfigures import ShardFigures
from batchkms.runs.inplace import InPlaceColumn
from batchkms.tally import Tally


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    STOPPED = 3
    ALL_RETRYABLE = 4
    NO_RECORDS = 5
    THRESHOLD = 6
    INTERRUPTED = 130


class State(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


def exit_code(tally: Tally, state: State) -> Exit:
    """The exit code of a run that ended in this state with these counts."""
    if state is State.STOPPED:
        return Exit.STOPPED
    if state is State.INTERRUPTED:
        return Exit.INTERRUPTED
    if tally.rows == 0:
        return Exit.NO_RECORDS
    if tally.failed == 0:
        return Exit.OK
    # What had failed in another run comes through again, however often it is tried here.
    retryable = not tally.passed_on and all(verdict_for(code).retryable for code in tally.by_code)
    return Exit.ALL_RETRYABLE if retryable else Exit.SOME_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is told at the end. `wall_s` is the whole time of the run in seconds."""

    command: str
    state: State
    tally: Tally
    wall_s: float
    output: str
    manifest: str | None
    rate: int | None
    notes: list[str] = field(default_factory=list)
    key_id: str | None = None
    """The demo key of the emulator, where one was used."""
    error: BatchKmsError | None = None
    """What stopped the run."""
    unwritten: int = 0
    """Rows that have a result which could not be written."""
    in_place: InPlaceColumn | None = None
    """What was made of the input and the results, where that was asked for."""
    shard: ShardFigures | None = None
    """Which share of the input it was, None for all of it."""

    @property
    def exit_code(self) -> Exit:
        """The exit code that goes with it."""
        return exit_code(self.tally, self.state)

    def latency_ms(self) -> dict[str, float]:
        """Percentiles of the latency of each row's last call, in milliseconds."""
        latencies = self.tally.latency
        if not latencies.total:
            return {}
        points = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
        values = latencies.percentiles_ms(list(points.values()))
        return {**dict(zip(points, values, strict=True)), "max": latencies.max_ms}

    def next_steps(self) -> list[str]:
        """What the user can do about what failed, most frequent first."""
        advice: dict[str, int] = {}
        for code, rows in self.tally.by_code.most_common():
            text = verdict_for(code).advice
            advice[text] = advice.get(text, 0) + rows
        steps = [f"{text} ({rows:,} {_rows(rows)})" for text, rows in advice.items()]
        if self.tally.unchanged and self.tally.unchanged == self.tally.ok:
            steps.insert(0, _ALL_UNCHANGED)
        if self.unwritten:
            lost = f"{self.unwritten:,} {_rows(self.unwritten)}"
            steps.insert(0, f"{lost} were done but not written: they will be sent again")
        if self.manifest is not None and self.state is State.INTERRUPTED:
            steps.insert(0, _AGAIN)
        if self.manifest is not None and self.state is State.STOPPED:
            steps.append(f"when that is mended, {_AGAIN}")
        return steps

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        tally = self.tally
        return {
            "command": self.command,
            "state": self.state.value,
            "exit_code": int(self.exit_code),
            "rows": tally.rows,
            "ok": tally.ok,
            "failed": tally.failed,
            "kept": tally.kept,
            "unchanged": tally.unchanged,
            "classes": {str(name): rows for name, rows in tally.by_class.items()},
            "codes": dict(tally.by_code),
            "calls": tally.calls,
            "retries": tally.retries,
            "throttled": tally.throttled,
            "calls_per_second": self.calls_per_second(),
            "records_per_second": round(_per_second(tally.done - tally.kept, self.wall_s), 2),
            "rate_limit": self.rate,
            "latency_ms": self.latency_ms(),
            "wall_s": round(self.wall_s, 3),
            "unwritten": self.unwritten,
            **({"in_place": self.in_place.as_json()} if self.in_place else {}),
            **({"shard": self.shard.as_json()} if self.shard else {}),
            "output": self.output,
            "manifest": self.manifest,
            "key_id": self.key_id,
            "error": None
            if self.error is None
            else {"message": self.error.message, "hint": self.error.hint},
            "next": [*self.notes, *self.next_steps()],
        }

    def as_text(self) -> list[str]:
        """The summary for people, line by line."""
        tally = self.tally
        kept = f", {tally.kept:,} of them kept from earlier" if tally.kept else ""
        lines = [
            f"{self.state.value}: {tally.done:,} {_rows(tally.done)} in {span_text(self.wall_s)}, "
            f"{tally.ok:,} ok, {tally.failed:,} failed{kept}"
        ]
        if self.shard is not None:
            lines.append(self.shard.as_text())
        if tally.unchanged:
            lines.append(f"unchanged: {tally.unchanged:,} {_rows(tally.unchanged)}")
        lines += [
            f"  {name}: {count:,} ({_codes(tally, name)})"
            for name, count in tally.by_class.most_common()
        ]
        if tally.calls:
            lines.append(
                f"calls: {tally.calls:,}, of them {tally.retries:,} retries; "
                f"{tally.throttled:,} throttled{self._rate_text()}"
            )
        if self.latency_ms():
            lines.append(f"latency ms: {_percentiles(self.latency_ms())}")
        if self.key_id is not None:
            lines.append(f"demo key: {self.key_id} (made by the emulator)")
        lines.append(f"results: {self.output}")
        if self.in_place is not None:
            lines.append(self.in_place.as_text())
        return lines + [f"next: {step}" for step in [*self.notes, *self.next_steps()]]

    def calls_per_second(self) -> float | None:
        """From the first call to the last one; None where that is too short for a rate."""
        if self.tally.calling_s < 1.0:
            return None
        return round(_per_second(self.tally.calls - 1, self.tally.calling_s), 2)

    def _rate_text(self) -> str:
        achieved = self.calls_per_second()
        limit = "no limit" if self.rate is None else f"limit {self.rate:,}/s"
        return "" if achieved is None else f"; {achieved:,.1f}/s from first to last call, {limit}"


_AGAIN = "run the same command again with --resume"

_ALL_UNCHANGED = (
    "no ciphertext was changed: they are under the newest version of that CMK already; rotate it, "
    "or name another one with --key-id"
)


def _codes(tally: Tally, error_class: str) -> str:
    codes = [
        f"{code} {rows:,}"
        for code, rows in tally.by_code.most_common()
        if verdict_for(code).error_class == error_class
    ]
    left = len(codes) - 4
    more = f", {left} more {'code' if left == 1 else 'codes'}" if left > 0 else ""
    return ", ".join(codes[:4]) + more


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _percentiles(latency_ms: dict[str, float]) -> str:
    names = {"p999": "p99.9"}
    return "  ".join(f"{names.get(name, name)} {ms:,.1f}" for name, ms in latency_ms.items())


def _per_second(count: int, seconds: float) -> float:
    return max(0, count) / seconds if seconds > 0 else 0.0


def span_text(seconds: float) -> str:
    """A span of time as `3.2 s`, `7 min 05 s` or `2 h 09 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
