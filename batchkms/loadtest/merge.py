"""Load tests read back from their files; several generators of one test become one.

Each counts time from its own first scheduled moment. What its record says of when that was puts
all of them on one clock, as good as the clocks of their machines agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchkms.errors import ConfigError, InputError
from batchkms.loadtest.call import Call
from batchkms.loadtest.reading import read_calls, read_record
from batchkms.loadtest.runrecord import RunRecord
from batchkms.loadtest.statistics import Statistics


@dataclass(slots=True)
class Merged:
    """What one or several files hold. `records` lacks those of files that have none.

    `names` are those of the files of the records, `notes` what must be known with the figures.
    """

    statistics: Statistics
    records: list[RunRecord] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """One of the files. `offset_s` is how much later than the first one it began."""

    path: str
    record: RunRecord | None
    offset_s: float = 0.0
    calls: int = 0
    warmup_calls: int = 0
    begins_s: float = float("inf")
    ends_s: float = 0.0


def merge(paths: Sequence[str], count: Callable[[Call], None] | None = None) -> Merged:
    """Reads the files of one test. `count`, if given, also sees each call on the common clock.

    Raises InputError for a file that cannot be read and for tests at different times, ConfigError
    for a file that is named twice.
    """
    _refuse_twice(paths)
    parts = [_Part(path, read_record(path)) for path in paths]
    merged = Merged(Statistics())
    begins = [part.record.started_at for part in parts if part.record is not None]
    for part in parts:
        if part.record is not None:
            part.offset_s = part.record.started_at - min(begins)
            merged.records.append(part.record)
            merged.names.append(Path(part.path).name)
        _read(part, merged.statistics, count)
    merged.statistics.due_in_s = _due_in_s(parts)
    _refuse_apart([part for part in parts if part.calls])
    merged.notes += [note for part in parts for note in _notes(part, alone=len(parts) == 1)]
    return merged


def _due_in_s(parts: Sequence[_Part]) -> tuple[float, float] | None:
    """From when to when calls were due, if the schedules that all kept to their end tell it."""
    spans = []
    for part in parts:
        record = part.record
        if record is None or record.state != "finished" or not record.stages:
            return None
        length_s = sum(stage.duration_s for stage in record.stages)
        spans.append((part.offset_s + record.warmup_s, part.offset_s + length_s))
    return min(begin for begin, _ in spans), max(end for _, end in spans)


def _read(part: _Part, statistics: Statistics, also: Callable[[Call], None] | None) -> None:
    for call in read_calls(part.path):
        at = _later(call, part.offset_s) if part.offset_s else call
        part.calls += 1
        part.warmup_calls += call.warmup
        part.begins_s = min(part.begins_s, at.scheduled)
        part.ends_s = max(part.ends_s, at.done)
        statistics.count(at)
        if also is not None and not call.warmup:
            also(at)


def _later(call: Call, by_s: float) -> Call:
    return Call(
        call.scheduled + by_s,
        None if call.sent is None else call.sent + by_s,
        call.done + by_s,
        call.action,
        call.outcome,
        call.bytes,
        call.code,
        call.request_id,
        call.attempts,
        call.warmup,
    )


def _notes(part: _Part, *, alone: bool) -> list[str]:
    name = Path(part.path).name
    if part.record is None:
        when = "" if alone else "; it is taken to have begun with the others"
        return [f"{name} has no record beside it, so its settings and validity are unknown{when}."]
    if part.record.calls not in (part.calls, part.calls - part.warmup_calls):
        return [
            f"{name} holds {part.calls:,} calls, but its record counts {part.record.calls:,}: "
            "the file is not whole, or the record is another one's."
        ]
    return []


def _refuse_twice(paths: Sequence[str]) -> None:
    seen: set[Path] = set()
    for path in paths:
        where = Path(path).resolve()
        if where in seen:
            raise ConfigError(f"{path} is named twice", hint="name each file once")
        seen.add(where)


def _refuse_apart(parts: Sequence[_Part]) -> None:
    """Raises InputError where a part did not run together with any of those before it."""
    ordered = sorted(parts, key=lambda part: part.begins_s)
    until = ordered[0].ends_s if ordered else 0.0
    for part in ordered[1:]:
        if part.begins_s > until:
            raise InputError(
                f"{part.path} begins {part.begins_s - until:,.1f} s after the others have ended",
                hint="these are different tests: put them side by side with batchkms compare",
            )
        until = max(until, part.ends_s)
