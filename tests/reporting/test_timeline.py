"""A timeline loses no count, takes bounded room, and tells when things were."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchkms.reporting.timeline import (
    COUNTED,
    MOST_SEGMENTS,
    MOST_WINDOWS,
    Segment,
    Timeline,
    Windows,
    recorded,
    shortened,
    together,
)
from batchkms.tally import Tally
from tests.virtual_time import run_virtual

_COUNTS = st.tuples(*[st.integers(0, 1_000)] * len(COUNTED))


def _sums(windows: list[dict[str, int]]) -> list[int]:
    return [sum(window[name] for window in windows) for name in COUNTED]


@given(st.lists(st.tuples(st.floats(0, 1e7), _COUNTS), max_size=50))
def test_windows_lose_nothing_and_stay_few(added: list[tuple[float, tuple[int, ...]]]) -> None:
    windows = Windows()
    for at_s, counts in added:
        windows.add(at_s, counts)
    told = windows.as_json()
    assert _sums(told) == [sum(each) for each in zip(*(c for _, c in added), strict=True)] or (
        not added and not told
    )
    assert len(told) <= MOST_WINDOWS
    assert [window["t"] for window in told] == [n * windows.window_s for n in range(len(told))]
    if added:
        last_s = max(at_s for at_s, _ in added)
        assert told[-1]["t"] <= last_s < told[-1]["t"] + windows.window_s
        assert windows.window_s == 1 or last_s >= MOST_WINDOWS * windows.window_s / 2


@given(st.lists(st.floats(0, 5_000), min_size=1, max_size=30, unique=True))
def test_each_count_is_in_the_window_of_its_time(times_s: list[float]) -> None:
    windows = Windows()
    for at_s in times_s:
        windows.add(at_s, (1, 0, 0, 0, 0))
    for window in windows.as_json():
        inside = [at for at in times_s if 0 <= at - window["t"] < windows.window_s]
        assert window["calls"] == len(inside)


def test_a_window_doubles_only_when_there_are_too_many() -> None:
    windows = Windows()
    for second in range(MOST_WINDOWS):
        windows.add(second, (second, 1, 0, 0, 0))
    assert (windows.window_s, len(windows)) == (1, 600)
    windows.add(MOST_WINDOWS, (7, 1, 0, 0, 0))
    told = windows.as_json()
    assert (windows.window_s, len(told)) == (2, 301)
    assert (told[0]["calls"], told[-2]["calls"], told[-1]["calls"]) == (1, 598 + 599, 7)
    assert [window["ok"] for window in told] == [*[2] * 300, 1]


def test_a_sample_is_what_came_since_the_last_one() -> None:
    tally = Tally()
    tally.ok = tally.kept = 50
    timeline = Timeline(tally)
    assert timeline.segments() == []
    timeline.begin(1_000.0)
    tally.calls, tally.ok = 10, 58
    timeline.sample(1_001.005)
    # The loop was late: it did nothing else meanwhile.
    tally.calls, tally.ok, tally.retries = 15, 60, 2
    timeline.sample(1_004.5)
    # A call was taken back, and another one came.
    tally.calls = 14
    timeline.sample(1_005.0)
    tally.calls = 16
    timeline.sample(1_006.0)
    (segment,) = timeline.segments()
    assert segment["started_at"].endswith("Z")
    assert [(w["t"], w["calls"], w["ok"], w["retries"]) for w in segment["windows"]] == [
        *((0, 10, 8, 0), (1, 5, 2, 2), (2, 0, 0, 0), (3, 0, 0, 0)),
        *((4, 0, 0, 0), (5, 1, 0, 0)),
    ]


def _segment(windows: int, window_s: int = 1, calls: int = 1) -> Segment:
    counts = {**dict.fromkeys(COUNTED, 0), "calls": calls}
    told = [{"t": n * window_s, **counts} for n in range(windows)]
    return {"started_at": "2026-01-01T00:00:00.000Z", "window_s": window_s, "windows": told}


@given(
    st.lists(st.tuples(st.integers(0, 600), st.sampled_from([1, 2, 64])), max_size=8)
    | st.lists(st.tuples(st.integers(0, 3), st.just(1)), max_size=150)
)
def test_earlier_segments_stay_few_too(shapes: list[tuple[int, int]]) -> None:
    earlier = [_segment(windows, window_s) for windows, window_s in shapes]
    kept = shortened(earlier)
    assert len(kept) == min(len(earlier), MOST_SEGMENTS - 1)
    assert sum(len(segment["windows"]) for segment in kept) <= MOST_WINDOWS
    for before, after in zip(earlier[len(earlier) - len(kept) :], kept, strict=True):
        assert _sums(before["windows"]) == _sums(after["windows"])
    if sum(windows for windows, _ in shapes) <= MOST_WINDOWS and len(shapes) < MOST_SEGMENTS:
        assert kept == earlier


def test_a_window_far_out_in_a_manifest_takes_no_room() -> None:
    segment = _segment(2)
    segment["windows"].append({**segment["windows"][0], "t": 10**15})
    (kept,) = shortened([segment])
    assert len(kept["windows"]) <= MOST_WINDOWS
    assert _sums(kept["windows"])[0] == 3


def test_a_run_is_sampled_every_second_and_at_its_end() -> None:
    async def run() -> list[Any]:
        tally = Tally()
        timeline = Timeline(tally, earlier=[_segment(3)])
        async with recorded(timeline):
            for _ in range(35):
                tally.calls += 1
                await asyncio.sleep(0.1)
            assert len(timeline.segments()[1]["windows"]) == 3
        return timeline.segments()

    before, own = run_virtual(run())
    assert before == _segment(3)
    assert [window["t"] for window in own["windows"]] == [0, 1, 2, 3]
    assert [window["calls"] for window in own["windows"]] == [11, 10, 10, 4]


def _one(started_at: str, window_s: int, *calls: int) -> Segment:
    windows = Windows(window_s)
    for index, number in enumerate(calls):
        windows.add(index * window_s, [number, 0, 0, 0, 0])
    return {"started_at": started_at, "window_s": window_s, "windows": windows.as_json()}


def test_runs_side_by_side_are_added_up_by_their_clocks() -> None:
    first = [_one("2026-01-01T00:00:10.000Z", 1, 5, 6, 7)]
    second = [_one("2026-01-01T00:00:11.000Z", 1, 10), _one("2026-01-01T00:00:14.500Z", 1, 2)]
    (made,) = together([second, first])
    assert made["started_at"] == "2026-01-01T00:00:10.000Z"
    assert [window["calls"] for window in made["windows"]] == [5, 16, 7, 0, 2]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.lists(_COUNTS, max_size=30)), max_size=8))
def test_nothing_is_lost_however_far_apart_they_ran(
    runs: list[tuple[int, list[tuple[int, ...]]]],
) -> None:
    segments = []
    for after_s, counts in runs:
        windows = Windows(1)
        for index, each in enumerate(counts):
            windows.add(index, each)
        at = datetime.fromtimestamp(after_s, UTC).isoformat()
        segments.append([{"started_at": at, "window_s": 1, "windows": windows.as_json()}])
    made = together(segments)
    told = [window for segment in made for window in segment["windows"]]
    every = [counts for _, run in runs for counts in run]
    assert _sums(told) == [sum(counts[index] for counts in every) for index in range(len(COUNTED))]
    assert len(told) <= MOST_WINDOWS


def test_times_that_cannot_be_read_leave_no_timeline() -> None:
    assert together([]) == []
    assert together([[_one("yesterday", 1, 5)], [_one("2026-01-01T00:00:10.000Z", 1, 5)]]) == []
