"""The timeline: every call in the window that it belongs to, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.latency import microseconds
from batchkms.loadtest.call import Call
from batchkms.loadtest.timeline import MOST_WINDOWS, Timeline
from tests.loadtest.calls import call, some_calls


def _timeline(calls: list[Call]) -> Timeline:
    made = Timeline()
    for each in calls:
        from_send_us = 0 if each.sent is None else microseconds(each.done - each.sent)
        made.count(each, microseconds(each.done - each.scheduled), from_send_us)
    return made


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_windows_together_have_every_call(calls: list[Call]) -> None:
    windows = [window for _, window in _timeline(calls).windows()]
    assert sum(window.asked for window in windows) == len(calls)
    assert sum(window.done.total() for window in windows) == len(calls)
    assert sum(window.from_schedule.total for window in windows) == len(calls)
    sent = sum(1 for each in calls if each.sent is not None)
    assert sum(window.sent for window in windows) == sent
    assert sum(window.from_send.total for window in windows) == sent


def test_a_call_is_where_it_was_due_sent_and_done() -> None:
    windows = _timeline([call(0.5, 3.0, "internal", sent=1.5)]).windows()
    assert [begin for begin, _ in windows] == [0, 1, 2, 3]
    assert [window.asked for _, window in windows] == [1, 0, 0, 0]
    assert [window.sent for _, window in windows] == [0, 1, 0, 0]
    assert [window.done["internal"] for _, window in windows] == [0, 0, 0, 1]
    assert windows[0][1].from_schedule.percentile_ms(50) == pytest.approx(3_000, rel=0.01)
    assert windows[0][1].from_send.percentile_ms(50) == pytest.approx(2_000, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 20_000), min_size=1, max_size=60))
def test_two_windows_become_one_without_loss(moments_s: list[float]) -> None:
    timeline = _timeline([call(at) for at in moments_s])
    windows = timeline.windows()
    assert len(windows) <= MOST_WINDOWS
    for begin_s, window in windows:
        inside = [at for at in moments_s if begin_s <= at < begin_s + timeline.window_s]
        assert window.asked == len(inside)


def test_a_day_takes_no_more_than_the_most_windows() -> None:
    timeline = _timeline([call(float(second)) for second in range(0, 86_400, 30)])
    assert len(timeline.windows()) <= MOST_WINDOWS
    assert timeline.window_s == 256
    assert sum(window.asked for _, window in timeline.windows()) == 2_880


def test_what_comes_before_the_first_moment_is_in_the_first_window() -> None:
    assert _timeline([call(-0.2)]).windows()[0][1].asked == 1


def test_nothing_counted_has_no_windows() -> None:
    assert Timeline().windows() == []


@pytest.mark.parametrize(("seconds", "loose"), [(300, 16), (1_000, 8), (2_000, 4), (86_400, 4)])
def test_windows_are_packed_once_hardly_a_call_ends_in_them(seconds: int, loose: int) -> None:
    windows = _timeline([call(float(second)) for second in range(seconds)]).windows()
    packed = [window.from_schedule.packed for _, window in windows]
    assert packed == [True] * (len(packed) - loose) + [False] * loose
