"""One step of a search: whether it held, what the service gave, and whether it was no noise."""

from __future__ import annotations

import pytest

from batchkms.loadtest.call import Call
from batchkms.loadtest.slo import parse_slos
from batchkms.loadtest.steps import DEFAULT_SLOS, Step, StepCounter
from tests.loadtest.calls import call


def _step(calls: list[Call], *, rate: float = 100, seconds: float = 5, slos: str = "") -> Step:
    judged = parse_slos([slos]) if slos else ()
    counter = StepCounter(judged, rate=rate, begin_s=10.0, asked_s=seconds)
    for each in calls:
        counter.count(each)
    return counter.step(took_s=seconds + 0.1, valid=True)


def _calls(outcomes: list[str], rate: float = 100, latency: float = 0.01) -> list[Call]:
    return [call(10 + n / rate, latency, outcome) for n, outcome in enumerate(outcomes)]


def test_a_step_without_errors_holds() -> None:
    step = _step(_calls(["ok"] * 500))
    assert (step.held, step.calls, step.errors, step.goodput) == (True, 500, 0, None)
    assert set(step.measured) == {slo.text for slo in DEFAULT_SLOS}
    assert step.spent_s == 5.1


def test_a_throttled_call_fails_it_but_is_not_clear() -> None:
    step = _step(_calls(["ok"] * 400 + ["throttled"] + ["ok"] * 99))
    assert (step.held, step.clear, step.lasting) == (False, False, False)


def test_what_the_service_gave_is_counted_in_the_whole_seconds_after_the_first_refusal() -> None:
    # For 1.2 s all is well, then two of three are refused.
    outcomes = ["ok"] * 120 + ["throttled", "throttled", "ok"] * 126
    step = _step(_calls(outcomes), seconds=5)
    assert step.goodput == pytest.approx(100 / 3, abs=0.5)
    assert step.lasting
    assert step.clear


def test_a_moment_of_refusals_is_not_lasting() -> None:
    step = _step(_calls(["ok"] * 100 + ["throttled"] * 10 + ["ok"] * 390))
    assert not step.lasting
    assert not step.clear


def test_a_growing_queue_does_not_hold_whatever_the_slos_say() -> None:
    # Each call takes 2 ms longer than the one before: the service does 83/s.
    calls = [call(10 + n / 100, 0.01 + n * 0.002) for n in range(500)]
    step = _step(calls)
    assert not step.held
    assert step.errors == 0
    assert step.goodput == pytest.approx(500 / 6, rel=0.01)


def test_a_service_that_is_slow_but_keeps_up_holds() -> None:
    assert _step(_calls(["ok"] * 500, latency=2.0)).held


def test_its_own_slos_are_judged() -> None:
    calls = _calls(["ok"] * 500, latency=0.06)
    step = _step(calls, slos="p99<50ms")
    assert not step.held
    assert step.measured == {"p99<50ms": pytest.approx(60, rel=0.01)}
    assert _step(calls, slos="p99<70ms").held


def test_a_step_without_calls_does_not_hold() -> None:
    step = _step([])
    assert (step.held, step.calls, step.goodput) == (False, 0, None)
