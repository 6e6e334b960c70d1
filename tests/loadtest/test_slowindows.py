"""SLOs over a whole run and over its windows: the same verdicts, whatever ends when."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.loadtest.call import Call
from batchkms.loadtest.slo import parse_slos
from batchkms.loadtest.slowindows import Judge, SloFigures, SloWindows, WholeRun
from tests.loadtest.calls import call, some_calls, statistics

SLOS = parse_slos(["p90<1s", "send.mean<2s", "errors<40%", "throttled<=3", "rate>=1", "max<6s"])


def _judged(calls: list[Call], window_s: float | None = 10.0) -> Judge:
    """A run of a minute whose calls end in this order; windows are settled as it goes."""
    judge = Judge(SLOS, window_s)
    for number, each in enumerate(calls):
        judge.count(each)
        judge.settled(min((left.scheduled for left in calls[number + 1 :]), default=60.0))
    judge.finish(60.0)
    return judge


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_the_whole_run_is_judged_as_its_statistics_are(calls: list[Call]) -> None:
    judge = _judged(calls, window_s=None)
    figures = statistics(*calls, due_in_s=(0.0, 60.0))
    for slo, record in zip(SLOS, judge.records(), strict=True):
        verdict = slo.judge(figures)
        assert (record.text, record.held) == (slo.text, verdict.held)
        assert record.measured == pytest.approx(verdict.measured, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_each_window_is_judged_as_a_run_of_its_calls(calls: list[Call]) -> None:
    records = _judged(calls).records()
    windows = {
        at: [each for each in calls if at <= each.scheduled < at + 10] for at in range(0, 60, 10)
    }
    filled = {at: inside for at, inside in windows.items() if inside}
    for slo, record in zip(SLOS, records, strict=True):
        failed = [
            at
            for at, inside in filled.items()
            if not slo.judge(statistics(*inside, due_in_s=(at, at + 10))).held
        ]
        assert record.windows == len(filled)
        assert record.failed_windows == failed
        assert record.held is bool(filled and not failed)


@settings(deadline=None, max_examples=15)
@given(some_calls, st.randoms(use_true_random=False))
def test_the_order_in_which_calls_end_does_not_matter(
    calls: list[Call], rng: random.Random
) -> None:
    shuffled = list(calls)
    rng.shuffle(shuffled)
    for window_s in (10.0, None):
        one, other = _judged(calls, window_s), _judged(shuffled, window_s)
        assert one.broken == other.broken or window_s is None
        for each, another in zip(one.records(), other.records(), strict=True):
            assert (each.held, each.failed_windows) == (another.held, another.failed_windows)
            assert each.measured == pytest.approx(another.measured)


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_the_windows_together_have_every_call_once(calls: list[Call]) -> None:
    counted = SloFigures(SLOS)
    windows = [SloFigures(SLOS) for _ in range(6)]
    for each in calls:
        counted.count(each)
        windows[int(each.scheduled // 10)].count(each)
    assert sum(window.calls for window in windows) == counted.calls == len(calls)
    together = windows[0].from_schedule
    for window in windows[1:]:
        together.add(window.from_schedule)  # type: ignore[arg-type]  # all are of one kind
    assert together.total == counted.from_schedule.total
    assert together.percentile_ms(90) == counted.from_schedule.percentile_ms(90)


def test_a_window_waits_for_its_calls() -> None:
    judge = SloWindows(parse_slos(["errors==0"]), 10)
    judge.count(call(12))
    judge.settled(9.9)  # One that was due at 9.9 s is still under way.
    assert not judge.broken
    judge.count(call(9.9, 30, "network"))
    judge.settled(12.5)
    assert judge.broken
    judge.finish(20)
    assert judge.records()[0].failed_windows == [0.0]


def test_settled_windows_are_dropped() -> None:
    judge = SloWindows(SLOS, 1)
    for second in range(1_000):
        judge.count(call(second + 0.5))
        judge.settled(second)
        assert len(judge._open) <= 2
    judge.finish(1_000)
    assert judge.records()[0].windows == 1_000


def test_less_than_half_a_window_is_left_out_and_said() -> None:
    for end_s, windows in ((14.9, 1), (15.0, 2)):
        judge = Judge(parse_slos(["errors==0"]), 10)
        judge.count(call(1))
        judge.count(call(11, outcome="network"))
        judge.finish(end_s)
        record = judge.records()[0]
        assert (record.windows, record.held, judge.broken) == (windows, windows == 1, windows == 2)
        assert len(judge.notes) == 2 - windows
    judge = Judge(parse_slos(["errors==0"]), 10)
    judge.count(call(1))
    judge.count(call(11))
    judge.finish(12)
    assert judge.notes == [
        "the last 2.0 s (1 call) are less than half a window and were not judged by the SLOs"
    ]


def test_a_run_shorter_than_half_a_window_is_judged_all_the_same() -> None:
    judge = Judge(parse_slos(["errors==0"]), 60)
    judge.count(call(1))
    judge.finish(2)
    assert [(each.held, each.windows) for each in judge.records()] == [(True, 1)]
    assert not judge.notes


@pytest.mark.parametrize("window_s", [None, 10.0])
def test_a_run_without_calls_has_shown_nothing(window_s: float | None) -> None:
    judge = Judge(parse_slos(["errors==0"]), window_s)
    judge.settled(20)
    assert not judge.broken
    judge.finish(30)
    assert [each.held for each in judge.records()] == [False]
    assert judge.broken


def test_windows_without_calls_are_not_judged() -> None:
    judge = Judge(parse_slos(["rate>=0.3"]), 10)
    for at in (0, 1, 2, 40, 41, 42):
        judge.count(call(at))
    judge.finish(50)
    assert [(each.held, each.windows) for each in judge.records()] == [(True, 2)]


def test_windows_begin_after_the_warm_up_which_is_not_judged() -> None:
    judge = Judge(parse_slos(["errors==0"]), 10, begin_s=5)
    judge.count(call(1, outcome="network", warmup=True))
    judge.count(call(14.9))
    judge.count(call(15, outcome="network"))
    judge.finish(25)
    assert judge.records()[0].failed_windows == [15.0]
    assert judge.records()[0].windows == 2


def test_the_run_so_far_is_judged_every_ten_seconds() -> None:
    judge = Judge(parse_slos(["throttled<10%"]))
    judge.count(call(1, outcome="throttled"))
    judge.settled(9.9)
    assert not judge.broken
    judge.settled(10.2)
    assert judge.broken
    judge.finish(11)
    assert [each.held for each in judge.records()] == [False]


def test_the_run_so_far_is_not_judged_without_a_call() -> None:
    judge = WholeRun(parse_slos(["p50<1ms"]), check_every_s=10)
    judge.settled(35)
    assert not judge.broken
    judge.count(call(36))
    judge.settled(39.9)
    assert not judge.broken
    judge.settled(40)
    assert judge.broken


@pytest.mark.parametrize(
    ("slo", "good", "bad"),
    [
        ("throttled==0", 0, 1),
        ("throttled<3", 2, 3),
        ("errors<=2", 2, 3),
        ("max<50ms", 0, 1),
    ],
)
def test_what_no_later_call_can_mend_is_lost_at_once(slo: str, good: int, bad: int) -> None:
    judge = Judge(parse_slos([slo]))
    judge.count(call(0))
    for number in range(1, bad + 1):
        judge.settled(0.25)
        assert judge.broken is (number > good + 1)
        judge.count(call(number / 100, 0.1, outcome="throttled"))
    judge.settled(0.25)
    assert judge.broken


@pytest.mark.parametrize("slo", ["ok>=100", "ok>99", "rate>=5"])
def test_what_more_calls_may_mend_is_judged_at_the_end(slo: str) -> None:
    judge = Judge(parse_slos([slo]))
    for number in range(100):
        judge.count(call(number / 5))
        judge.settled(number / 5)
        assert not judge.broken
    judge.finish(20)
    assert [each.held for each in judge.records()] == [True]


def test_a_rate_is_over_all_of_the_time_that_calls_were_due_in() -> None:
    judge = Judge(parse_slos(["rate>=299"]))
    # The other half of a minute nothing could be sent at all.
    for number in range(9_000):
        judge.count(call(number / 300))
    judge.finish(60)
    (record,) = judge.records()
    assert (record.held, record.measured) == (False, 150)


def test_the_worst_window_is_what_was_measured() -> None:
    judge = Judge(parse_slos(["max<1s", "rate>=0.1"]), 10)
    for at, latency in ((1, 0.2), (2, 0.3), (11, 0.7), (13, 0.1)):
        judge.count(call(at, latency))
    judge.finish(20)
    worst = [each.measured for each in judge.records()]
    assert worst == [700, 0.2]


def test_without_slos_nothing_is_broken() -> None:
    for window_s in (None, 10.0):
        judge = Judge([], window_s)
        judge.count(call(1, outcome="network"))
        judge.settled(20)
        judge.finish(30)
        assert not judge.broken
        assert judge.records() == []
