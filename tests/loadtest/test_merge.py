"""Files of several generators become one test, on one clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkms.errors import ConfigError, InputError
from batchkms.loadtest.merge import merge
from tests.loadtest.samples import calls, failed, record, written

BEGIN = 1_795_500_000.0


async def test_generators_are_put_on_one_clock(tmp_path: Path) -> None:
    first = await written(tmp_path / "a.jsonl", calls(), record(started_at=BEGIN))
    later = record(started_at=BEGIN + 4.0, target_rate=50.0, calls=500)
    second = await written(tmp_path / "b.jsonl.gz", calls(500, rate=50.0), later)
    # The one that began first need not be named first.
    merged = merge([str(second), str(first)])
    assert merged.statistics.calls == 1500
    windows = dict(merged.statistics.timeline.windows())
    assert [windows[second].asked for second in (0.0, 3.0, 4.0, 9.0, 10.0)] == [
        *(100, 100, 150, 150, 50)
    ]
    assert merged.statistics.last_scheduled_s == pytest.approx(4.0 + 499 / 50)
    assert merged.names == ["b.jsonl.gz", "a.jsonl"]
    assert merged.notes == []
    # Latencies are the same on any clock.
    alone = merge([str(first)]).statistics.from_schedule
    assert alone.max_ms == pytest.approx(merged.statistics.from_schedule.max_ms, abs=0.01)


async def test_tests_at_different_times_are_not_one(tmp_path: Path) -> None:
    first = await written(tmp_path / "a.jsonl", calls(), record(started_at=BEGIN))
    second = await written(tmp_path / "b.jsonl", calls(), record(started_at=BEGIN + 3600))
    with pytest.raises(InputError, match="after the others have ended") as refused:
        merge([str(first), str(second)])
    assert "compare" in (refused.value.hint or "")


async def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    path = await written(tmp_path / "a.jsonl", calls(10), record(calls=10))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigError, match="named twice"):
        merge([str(path), str(tmp_path / "link")])


async def test_what_must_be_known_of_a_file_is_noted(tmp_path: Path) -> None:
    path = await written(tmp_path / "a.jsonl", calls(10), record(calls=11))
    assert "holds 10 calls, but its record counts 11" in merge([str(path)]).notes[0]
    partial = await written(tmp_path / "b.jsonl", calls(10), None)
    merged = merge([str(path), str(partial)])
    assert "b.jsonl.partial has no record" in merged.notes[1]
    assert len(merged.records) == 1 and merged.statistics.calls == 20


async def test_each_call_but_those_of_the_warm_up_is_shown_to_the_other_counter(
    tmp_path: Path,
) -> None:
    made = [failed(call, "internal", "InternalError") for call in calls(10)]
    path = await written(tmp_path / "a.jsonl", made, record(calls=10))
    seen: list[str | None] = []
    merge([str(path)], lambda call: seen.append(call.code))
    assert seen == ["InternalError"] * 10
