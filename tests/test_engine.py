"""The engine's promise: one Result per record or a stopped run, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.engine import EngineOptions
from batchkms.errors import RunStopped
from batchkms.records import ErrorClass, Record, rejected
from batchkms.retry import RetryPolicy
from tests.scripted import (
    OK,
    Scripted,
    Source,
    always,
    by_row,
    engine_for,
    other_tasks,
    outcome_of,
    record,
    records,
    results_of,
)
from tests.test_quota import most_in_a_sliding_second
from tests.virtual_time import run_virtual

OUTCOMES = [
    OK,
    "InternalError",
    "RequestLimitExceeded.UinLimitExceeded",
    "ConnectionReset",
    "NotJson",
    "InvalidParameterValue.InvalidPlaintext",
    "ResourceUnavailable.CmkDisabled",
    "UnauthorizedOperation",
    "AuthFailure.SecretIdNotFound",
    "NoSuchCode.AtAll",
]
rows_of_outcomes = st.lists(
    st.lists(st.sampled_from([OK, OK, *OUTCOMES]), min_size=1, max_size=9), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(
    rows=rows_of_outcomes,
    keys=st.lists(st.sampled_from([None, "key-1", "key-2"]), min_size=30, max_size=30),
    concurrency=st.integers(1, 8),
    queue=st.integers(1, 10),
    batch=st.integers(1, 7),
    ordered=st.booleans(),
    key_per_record=st.booleans(),
)
def test_every_record_gets_one_result_or_the_run_is_stopped(
    rows: list[list[str]],
    keys: list[str | None],
    concurrency: int,
    queue: int,
    batch: int,
    ordered: bool,
    key_per_record: bool,
) -> None:
    async def main() -> None:
        script = dict(enumerate(rows, 1))
        operation = Scripted(lambda row, number: script[row.seq][number % len(script[row.seq])])
        engine = engine_for(
            operation,
            options=EngineOptions(
                concurrency=concurrency,
                queue_records=queue,
                ordered=ordered,
                key_per_record=key_per_record,
            ),
        )
        items = [record(seq, key_id=keys[seq - 1]) for seq in script]
        results, error = await outcome_of(engine, items, batch=batch)

        seqs = [result.seq for result in results]
        assert len(set(seqs)) == len(seqs), "no record gets two results"
        assert error is None or isinstance(error, RunStopped)
        assert (error is not None) or sorted(seqs) == list(script), "no record is lost"
        for result in results:
            assert result.attempts == operation.count(result.seq)
            assert result.ok == (result.error_class is None)
            assert result.key_id == (keys[result.seq - 1] or "the-only-key")
        if ordered:
            assert seqs == sorted(seqs)
        assert engine.tally.calls == len(operation.calls)
        assert engine.tally.done == len(results)
        assert operation.most_under_way <= concurrency
        assert engine.tally.in_flight == 0
        assert not other_tasks()

    run_virtual(main())


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from(OUTCOMES[:5]), min_size=1, max_size=9), max_size=4),
    cap=st.integers(1, 9),
)
def test_no_record_is_tried_more_often_than_allowed(rows: list[list[str]], cap: int) -> None:
    # Four rows are too few for an outage, whose probes do not count.
    async def main() -> None:
        script = dict(enumerate(rows, 1))
        operation = Scripted(lambda row, number: script[row.seq][number % len(script[row.seq])])
        engine = engine_for(operation, retry=RetryPolicy(max_attempts=cap))
        for result in await results_of(engine, records(len(rows))):
            outcomes = (script[result.seq] * cap)[:cap]
            expected = outcomes.index(OK) + 1 if OK in outcomes else cap
            assert result.attempts == expected
            assert result.ok == (OK in outcomes)

    run_virtual(main())


def test_fail_then_succeed_is_a_success() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["RequestLimitExceeded"], 2: ["InternalError"]}))
        results = await results_of(engine_for(operation), records(3))
        assert [(r.ok, r.attempts, r.code) for r in sorted(results, key=lambda r: r.seq)] == [
            (True, 2, None),
            (True, 2, None),
            (True, 1, None),
        ]
        assert len(operation.calls) == 5, "a success is not asked for twice"

    run_virtual(main())


@settings(max_examples=20, deadline=None)
@given(failing=st.sets(st.integers(1, 120)), per_second=st.sampled_from([1, 7, 40]))
def test_retries_count_against_the_quota(failing: set[int], per_second: int) -> None:
    async def main() -> None:
        operation = Scripted(by_row({seq: ["InternalError"] * 2 for seq in failing}))
        # At one call a second, a row waits a minute for its next turn: give it the time.
        retry = RetryPolicy(deadline_s=3_600)
        engine = engine_for(operation, per_second=per_second, retry=retry, uniform=lambda: 0.0)
        await results_of(engine, records(120))
        assert len(operation.calls) == 120 + 2 * len(failing)
        assert most_in_a_sliding_second(operation.times) <= per_second

    run_virtual(main())


@settings(max_examples=30, deadline=None)
@given(
    times_s=st.lists(st.floats(0.001, 5), min_size=1, max_size=60),
    ordered=st.booleans(),
    concurrency=st.integers(1, 20),
)
def test_the_order_of_results(times_s: list[float], ordered: bool, concurrency: int) -> None:
    async def main() -> None:
        operation = Scripted(always(OK), took_s=lambda row: times_s[row.seq - 1])
        options = EngineOptions(concurrency=concurrency, queue_records=5, ordered=ordered)
        items: list[Record] = records(len(times_s))
        seqs = [r.seq for r in await results_of(engine_for(operation, options=options), items)]
        assert sorted(seqs) == [item.seq for item in items]
        if ordered:
            assert seqs == sorted(seqs)
        elif concurrency >= len(items):
            assert [times_s[seq - 1] for seq in seqs] == sorted(times_s), "as they completed"

    run_virtual(main())


def test_a_row_that_cannot_be_sent_passes_through() -> None:
    async def main() -> None:
        operation = Scripted(always(OK))
        broken = rejected(2, None, "InvalidJson", "line 2 is no JSON")
        engine = engine_for(operation, options=EngineOptions(ordered=True))
        results = await results_of(engine, [record(1), broken, record(3)])
        assert [r.seq for r in results] == [1, 2, 3]
        assert results[1] is broken
        assert operation.count(2) == 0
        assert engine.tally.by_class == {ErrorClass.INVALID_RECORD: 1}
        assert engine.tally.by_code == {"InvalidJson": 1}

    run_virtual(main())


def test_no_records_no_results() -> None:
    async def main() -> None:
        engine = engine_for(Scripted(always(OK)))
        assert await results_of(engine, []) == []
        assert engine.tally.exhausted and engine.tally.rows == 0
        assert not other_tasks()

    run_virtual(main())


def test_nothing_is_done_before_the_first_result_is_asked_for() -> None:
    async def main() -> None:
        operation = Scripted(always(OK))
        source = Source(records(3))
        lists = engine_for(operation).run(source.batches())
        await asyncio.sleep(10)
        assert (operation.calls, source.taken) == ([], 0)
        await lists.aclose()
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_size_of_batches_changes_nothing(batch: int) -> None:
    async def main() -> None:
        engine = engine_for(Scripted(always(OK)), options=EngineOptions(ordered=True))
        results, error = await outcome_of(engine, records(50), batch=batch)
        assert error is None
        assert [r.seq for r in results] == list(range(1, 51))

    run_virtual(main())
