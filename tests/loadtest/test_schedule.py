"""When calls are due: counting and time are inverse, whatever the stages."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchkms.loadtest.schedule import Schedule, Stage

rates = st.one_of(st.just(0.0), st.floats(0.5, 500))
stage = st.one_of(
    st.builds(Stage, st.floats(0.1, 20), rates, rates),
    st.builds(lambda seconds, rate: Stage(seconds, rate, rate), st.floats(0.1, 20), rates),
)
stages = st.lists(stage, min_size=1, max_size=5)


def _schedule(given_stages: list[Stage]) -> Schedule:
    assume(sum(each.calls for each in given_stages) > 0.5)
    return Schedule(given_stages)


@settings(deadline=None, max_examples=50)
@given(stages, st.floats(0, 1))
def test_a_call_is_due_by_its_time_and_not_before(given_stages: list[Stage], at: float) -> None:
    schedule = _schedule(given_stages)
    number = int(at * (schedule.total - 1))
    due_s = schedule.time_of(number)
    assert schedule.due_by(due_s + 1e-6) >= number + 1
    # Where a ramp begins or ends at nothing, the digits of a time are not enough for this.
    if schedule.rate_at(due_s - 1e-4) > 0.1:
        assert schedule.due_by(due_s - 1e-4) <= number


@settings(deadline=None, max_examples=50)
@given(stages, st.floats(0, 1))
def test_what_is_due_has_its_time_behind_it(given_stages: list[Stage], at: float) -> None:
    schedule = _schedule(given_stages)
    now_s = at * schedule.duration_s
    due = schedule.due_by(now_s)
    assert due == 0 or schedule.time_of(due - 1) <= now_s + 1e-5
    if due < schedule.total:
        assert schedule.time_of(due) >= now_s - 1e-5


@settings(deadline=None, max_examples=50)
@given(stages)
def test_times_never_go_backwards_and_stay_in_the_run(given_stages: list[Stage]) -> None:
    schedule = _schedule(given_stages)
    step = max(1, schedule.total // 300)
    times_s = [schedule.time_of(number) for number in range(0, schedule.total, step)]
    assert times_s == sorted(times_s)
    assert times_s[0] >= 0 and times_s[-1] <= schedule.duration_s + 1e-6


@settings(deadline=None, max_examples=50)
@given(stages, st.lists(st.floats(-1, 120), min_size=2, max_size=20))
def test_ever_more_calls_are_due_and_all_of_them_at_the_end(
    given_stages: list[Stage], moments_s: list[float]
) -> None:
    schedule = _schedule(given_stages)
    due = [schedule.due_by(moment) for moment in sorted(moments_s)]
    assert due == sorted(due)
    assert schedule.due_by(-0.001) == 0
    assert schedule.due_by(schedule.duration_s) == schedule.total
    asked = sum(each.calls for each in given_stages)
    assert asked - 1e-3 <= schedule.total < asked + 1


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 299.7, 300.0, 25_000.0])
def test_a_constant_rate_is_evenly_spaced(rate: float) -> None:
    schedule = Schedule([Stage(60.0, rate, rate)])
    assert schedule.total == round(60 * rate)
    for number in {0, 1, schedule.total // 2, schedule.total - 1}:
        assert schedule.time_of(number) == pytest.approx(number / rate)
    assert schedule.mean_rate() == pytest.approx(rate)


def test_a_ramp_asks_for_its_mean_and_for_its_rate_at_each_moment() -> None:
    schedule = Schedule([Stage(30.0, 100.0, 300.0)])
    assert schedule.total == 6_000
    assert schedule.rate_at(0) == 100
    assert schedule.rate_at(15) == 200
    assert schedule.due_by(15) == 2_251  # 15 s at 150/s on the average, and the one due at 15 s.
    assert schedule.time_of(2_250) == pytest.approx(15)
    late = schedule.time_of(5_999) - schedule.time_of(5_998)
    assert late == pytest.approx(1 / 300, rel=0.01)


def test_a_ramp_down_to_nothing_ends() -> None:
    schedule = Schedule([Stage(10.0, 100.0, 0.0)])
    assert schedule.total == 500
    assert schedule.time_of(499) < 10
    assert schedule.due_by(9.999) == 500


def test_a_pause_between_stages_has_no_calls() -> None:
    schedule = Schedule([Stage(1, 10, 10), Stage(5, 0, 0), Stage(1, 10, 10)])
    assert schedule.total == 20
    assert schedule.time_of(9) == pytest.approx(0.9)
    # What the first second has not used up is asked for when calls go on.
    assert schedule.time_of(10) == pytest.approx(6.0)
    assert [schedule.due_by(at) for at in (0.95, 3, 5.99, 6.0)] == [10, 10, 10, 11]
    assert schedule.rate_at(3) == 0


def test_rates_outside_the_run_are_zero() -> None:
    schedule = Schedule([Stage(2, 10, 10)])
    assert [schedule.rate_at(at) for at in (-0.1, 0, 1.9, 2.0)] == [0, 10, 10, 0]


@pytest.mark.parametrize("given_stages", [[], [Stage(10, 0, 0)]])
def test_stages_without_calls_are_refused(given_stages: list[Stage]) -> None:
    with pytest.raises(ValueError, match="no call"):
        Schedule(given_stages)
