"""The figures of a load test: every call once, in its place, in bounded memory."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.statistics import MOST_CODES, MOST_EXAMPLES, OTHER, Statistics
from tests.loadtest.calls import call, some_calls, statistics


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_every_call_is_counted_once(calls: list[Call]) -> None:
    figures = statistics(*calls)
    assert figures.calls == len(calls) == figures.from_schedule.total
    assert figures.by_class.total() == figures.by_action.total() == len(calls)
    assert figures.ok + figures.errors == len(calls)
    assert figures.from_send.total == len(calls) - figures.never_sent
    assert sum(each.calls for each in figures.outcomes.values()) == len(calls)
    assert sum(each.calls for each in figures.failures.values()) == figures.errors


def everything(figures: Statistics) -> list[object]:
    """All that figures hold."""
    latencies = [
        each
        for outcome in figures.outcomes.values()
        for each in (outcome.from_schedule, outcome.from_send)
    ]
    return [
        *(figures.calls, figures.warmup_calls, figures.retries, figures.bytes),
        *(figures.never_sent, figures.by_class, figures.by_action, figures.failures),
        *(figures.first_scheduled_s, figures.last_scheduled_s, figures.first_sent_s),
        *(figures.last_sent_s, figures.last_done_s, list(figures.outcomes)),
        [(list(each.buckets()), each.total, each.sum_us, each.max_us) for each in latencies],
        [
            (begin_s, window.asked, window.sent, window.done)
            + tuple(
                (each.counts, each.total, each.max_us)
                for each in (window.from_schedule, window.from_send)
            )
            for begin_s, window in figures.timeline.windows()
        ],
    ]


@settings(deadline=None, max_examples=40)
@given(some_calls, st.integers(1, 40), st.sampled_from([0.01, 1.0, 20.0]), st.randoms())
def test_many_at_once_are_counted_as_one_by_one(
    calls: list[Call], size: int, shrink: float, rng: Random
) -> None:
    # Near each other, batches are of one window; and some are of other kinds.
    changed = [
        replace(
            each,
            scheduled=each.scheduled * shrink,
            sent=None if each.sent is None else each.sent * shrink,
            done=each.done * shrink + rng.choice([0.0, 0.0, -1.0, 4_000.0]),
            warmup=rng.random() < 0.1,
            attempts=1 + (rng.random() < 0.1),
            action=rng.choice(["encrypt", "encrypt", "decrypt"]),
        )
        for each in calls
    ]
    # Within a batch the order of actions and classes is another one.
    together, apart = Statistics(), Statistics()
    for begin in range(0, len(changed), size):
        together.count_all(changed[begin : begin + size])
    for each in changed:
        apart.count(each)
    together.outcomes = dict(sorted(together.outcomes.items()))
    apart.outcomes = dict(sorted(apart.outcomes.items()))
    assert everything(together) == everything(apart)


@settings(deadline=None, max_examples=15)
@given(some_calls)
def test_no_call_takes_longer_from_send_than_from_schedule(calls: list[Call]) -> None:
    figures = statistics(*(each for each in calls if each.sent is not None))
    points = [50.0, 90.0, 99.0, 99.9, 100.0]
    schedule_ms = figures.from_schedule.percentiles_ms(points)
    send_ms = figures.from_send.percentiles_ms(points)
    assert all(one >= other for one, other in zip(schedule_ms, send_ms, strict=True))
    assert schedule_ms[2] <= figures.from_schedule.max_ms
    assert send_ms[2] <= figures.from_send.max_ms


def test_the_warm_up_is_only_counted() -> None:
    figures = statistics(call(0, 9, "network", warmup=True), call(1))
    assert (figures.calls, figures.warmup_calls, figures.errors) == (1, 1, 0)
    assert figures.from_schedule.max_ms == pytest.approx(10)


def test_rates_are_over_the_time_that_calls_were_due_in() -> None:
    figures = statistics(*(call(n / 10, 0.05, OK if n % 4 else "internal") for n in range(101)))
    assert figures.sent_rate == pytest.approx(10)
    assert figures.ok_rate == pytest.approx(75 / 10.1)
    figures.due_in_s = 0.0, 20.0
    assert figures.sent_rate == pytest.approx(101 / 20)
    # Where the last ones were sent later, it took longer.
    figures.count(call(19, 12, sent=30.0))
    assert figures.sent_rate == pytest.approx(102 / 30)
    assert figures.ok_rate == pytest.approx(76 / 31)
    assert statistics().sent_rate == statistics(call(1)).sent_rate == 0


def test_calls_that_were_never_sent_have_a_latency_from_schedule_only() -> None:
    figures = statistics(call(0, 3, "network", sent=None), call(1), call(2))
    assert figures.never_sent == 1
    assert figures.sent_rate == pytest.approx(2 / 3)
    assert (figures.from_schedule.total, figures.from_send.total) == (3, 2)


def test_a_failure_that_took_long_is_in_the_percentiles() -> None:
    figures = statistics(*(call(n) for n in range(9)), call(9, 30, "network"))
    assert figures.from_schedule.percentile_ms(99) == 30_000


def test_codes_have_examples_and_are_bounded() -> None:
    figures = Statistics()
    for n in range(MOST_EXAMPLES + 3):
        figures.count(call(n, 0.5, "internal", code="InternalError", request_id=f"id-{n}"))
    failure = figures.failures["InternalError"]
    assert failure.request_ids == [f"id-{n}" for n in range(MOST_EXAMPLES)]
    assert (failure.error_class, failure.first_s, failure.calls) == ("internal", 0.5, 8)
    for n in range(2 * MOST_CODES):
        figures.count(call(n, outcome="unknown", code=f"Code{n}"))
    assert len(figures.failures) == MOST_CODES + 1
    assert figures.failures[OTHER].calls == MOST_CODES + 1


def test_retries_and_bytes_are_added_up() -> None:
    figures = statistics(call(0, attempts=3), call(1), call(2, attempts=2, bytes=900))
    assert (figures.retries, figures.bytes) == (3, 1_100)
