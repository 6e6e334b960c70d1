"""A timeline loses no count, takes bounded room, and tells when things were."""

from __future__ import annotations

import asyncio
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
