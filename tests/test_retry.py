"""When to try again, and what makes an outage: pure functions of the time passed in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import VERDICTS, verdict_for
from batchkms.retry import (
    OUTAGE_AFTER_S,
    OUTAGE_AFTER_THROTTLED_S,
    OUTAGE_ROWS,
    OutageWatch,
    RetryPolicy,
)

INTERNAL = verdict_for("InternalError")


@given(
    attempts=st.integers(1, 5_000),
    share=st.floats(0, 1, exclude_max=True),
    base_s=st.floats(0.001, 2),
    cap_s=st.floats(0.001, 60),
)
def test_full_jitter_stays_between_zero_and_the_doubled_step(
    attempts: int, share: float, base_s: float, cap_s: float
) -> None:
    policy = RetryPolicy(max_attempts=10_000, base_s=base_s, cap_s=cap_s, deadline_s=1e9)
    delay_s = policy.delay_s(INTERNAL, attempts=attempts, elapsed_s=0, uniform=lambda: share)
    step_s = min(cap_s, base_s * 2.0 ** min(attempts - 1, 60))
    assert delay_s == pytest.approx(share * step_s)


def test_the_default_steps_double_from_100_ms_to_10_s() -> None:
    policy = RetryPolicy(max_attempts=10)
    longest = [
        policy.delay_s(INTERNAL, attempts=n, elapsed_s=0, uniform=lambda: 1.0) for n in range(1, 10)
    ]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])


def test_jitter_spreads_over_the_whole_step() -> None:
    chance = random.Random(7)  # noqa: S311 - jitter is no secret
    delays = [
        RetryPolicy().delay_s(INTERNAL, attempts=1, elapsed_s=0, uniform=chance.random) or 0.0
        for _ in range(1_000)
    ]
    assert min(delays) < 0.01 and max(delays) > 0.09
    assert sum(delays) / 1_000 == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("attempts", "again"), [(1, True), (7, True), (8, False), (9, False)])
def test_the_cap_on_attempts(attempts: int, again: bool) -> None:
    delay_s = RetryPolicy().delay_s(INTERNAL, attempts=attempts, elapsed_s=0, uniform=lambda: 0.5)
    assert (delay_s is not None) is again


@pytest.mark.parametrize(("elapsed_s", "again"), [(119.9, True), (119.95, False), (500.0, False)])
def test_no_attempt_is_planned_past_the_deadline(elapsed_s: float, again: bool) -> None:
    # Half of the first step of 100 ms is waited.
    delay_s = RetryPolicy().delay_s(INTERNAL, attempts=1, elapsed_s=elapsed_s, uniform=lambda: 0.5)
    assert (delay_s is not None) is again


@pytest.mark.parametrize("code", sorted(VERDICTS))
def test_only_what_can_get_better_is_tried_again(code: str) -> None:
    verdict = VERDICTS[code]
    delay_s = RetryPolicy().delay_s(verdict, attempts=1, elapsed_s=0, uniform=lambda: 0.0)
    assert (delay_s is not None) is verdict.retryable


# -- OutageWatch -----------------------------------------------------------------------------


def fail_rows(watch: OutageWatch, rows: int, *, at: float, throttled: bool = False) -> bool:
    began = [watch.failed(seq, at, throttled=throttled) for seq in range(rows)]
    return any(began)


def test_many_rows_failing_for_a_while_make_an_outage() -> None:
    watch = OutageWatch()
    assert not fail_rows(watch, OUTAGE_ROWS, at=10.0), "not long enough yet"
    assert not watch.active
    assert watch.failed(1, 10.0 + OUTAGE_AFTER_S)
    assert watch.active
    assert not watch.failed(2, 12.0), "it begins only once"


def test_few_rows_are_no_outage_however_long_they_fail() -> None:
    watch = OutageWatch()
    for at in range(1_000):
        assert not fail_rows(watch, OUTAGE_ROWS - 1, at=float(at))


def test_one_answer_starts_the_streak_anew() -> None:
    watch = OutageWatch()
    fail_rows(watch, OUTAGE_ROWS, at=0.0)
    assert not watch.answered(0.9), "there was no outage to end"
    assert not fail_rows(watch, OUTAGE_ROWS, at=1.5)
    assert watch.lasted_s(2.0) == 0.5


def test_throttling_is_borne_longer() -> None:
    watch = OutageWatch()
    fail_rows(watch, OUTAGE_ROWS, at=0.0, throttled=True)
    assert not watch.failed(1, OUTAGE_AFTER_THROTTLED_S - 0.1, throttled=True)
    assert watch.failed(1, OUTAGE_AFTER_THROTTLED_S, throttled=True)


def test_throttling_mixed_with_other_failures_is_not() -> None:
    watch = OutageWatch()
    fail_rows(watch, OUTAGE_ROWS, at=0.0, throttled=True)
    assert watch.failed(1, OUTAGE_AFTER_S)


def test_paused_time_adds_up_over_outages() -> None:
    watch = OutageWatch()
    assert watch.paused_s(5.0) == 0.0
    fail_rows(watch, OUTAGE_ROWS, at=10.0)
    watch.failed(1, 12.0)
    assert watch.paused_s(15.0) == 3.0, "from when it was noticed"
    assert watch.lasted_s(15.0) == 5.0, "from the first failure"
    assert watch.answered(20.0)
    assert not watch.active
    assert (watch.paused_s(50.0), watch.lasted_s(50.0)) == (8.0, 0.0)
    fail_rows(watch, OUTAGE_ROWS, at=60.0)
    watch.failed(1, 61.0)
    assert watch.paused_s(63.0) == 10.0


def test_probes_come_ever_more_slowly_up_to_a_cap() -> None:
    watch = OutageWatch()
    fail_rows(watch, OUTAGE_ROWS, at=0.0)
    watch.failed(1, 2.0)
    delays = []
    for at in range(40):
        delays.append(watch.probe_delay_s())
        watch.failed(1, 3.0 + at)
    assert delays[:6] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0]
    assert set(delays[5:]) == {5.0}
