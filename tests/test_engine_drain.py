"""A run that is drained, stopped or left early, or broken by its source or a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from batchkms.engine import Batch, Engine, EngineOptions
from batchkms.errors import InputBroken, KmsError, RunStopped
from batchkms.records import Record, Result
from batchkms.retry import RetryPolicy
from tests.scripted import (
    HANG,
    OK,
    Scripted,
    Source,
    always,
    by_row,
    engine_for,
    now_s,
    other_tasks,
    outcome_of,
    record,
    records,
)
from tests.virtual_time import run_virtual


async def collect(engine: Engine, batches: AsyncIterator[Batch]) -> list[Result]:
    results: list[Result] = []
    async with aclosing(engine.run(batches)) as lists:
        async for some in lists:
            results += some
    return results


async def calls_after(seconds: float, operation: Scripted) -> int:
    """How many calls are made from now on, in so many seconds."""
    before = len(operation.calls)
    await asyncio.sleep(seconds)
    return len(operation.calls) - before


# -- Drained and left ------------------------------------------------------------------------


def test_drain_finishes_what_is_in_flight_and_takes_no_more() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["InternalError"]}), took_s=1.0)
        engine = engine_for(operation, options=EngineOptions(concurrency=4, queue_records=10))
        source = Source(records(1_000))
        run = asyncio.create_task(collect(engine, source.batches()))
        await asyncio.sleep(0.5)
        engine.drain()
        taken = source.taken
        results = await run
        # A row that has to be tried again is still in flight.
        assert sorted(r.seq for r in results) == [1, 2, 3, 4]
        assert all(r.ok for r in results)
        assert (source.taken, operation.count(1), len(operation.calls)) == (taken, 2, 5)
        assert engine.drained
        assert not other_tasks()

    run_virtual(main())


def test_drain_cuts_off_what_outlasts_the_grace_time() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: [HANG]}))
        options = EngineOptions(concurrency=2, drain_grace_s=5.0)
        engine = engine_for(operation, options=options, retry=RetryPolicy(attempt_timeout_s=60))
        run = asyncio.create_task(collect(engine, Source([record(1)]).batches()))
        await asyncio.sleep(1)
        began = now_s()
        engine.drain()
        assert await run == []
        assert now_s() - began == pytest.approx(5.0, abs=0.01)
        assert engine.drained
        assert not other_tasks()

    run_virtual(main())


class Deaf(Scripted):
    """Makes a failure of the call out of being cancelled, as a client may whose timer ran out."""

    async def attempt(self, record: Record) -> Result:
        try:
            return await super().attempt(record)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise KmsError("AttemptTimeout", "no answer in time") from None


def test_drain_ends_calls_that_take_being_cancelled_for_a_failure() -> None:
    async def main() -> None:
        operation = Deaf(always(HANG))
        options = EngineOptions(concurrency=4, drain_grace_s=5.0)
        engine = engine_for(operation, options=options)
        began = now_s()
        run = asyncio.create_task(collect(engine, Source(records(100)).batches()))
        await asyncio.sleep(0.5)
        engine.drain()
        assert await run == []
        assert now_s() - began < 6
        assert engine.drained
        assert not other_tasks()

    run_virtual(main())


def test_drain_in_an_outage_is_no_failure() -> None:
    async def main() -> None:
        operation = Scripted(always("Http503"), took_s=1.0)
        engine = engine_for(operation, options=EngineOptions(concurrency=8))
        run = asyncio.create_task(collect(engine, Source(records(100)).batches()))
        await asyncio.sleep(10)
        assert engine.outage
        engine.drain()
        assert await run == []
        assert engine.drained

    run_virtual(main())


def test_drain_after_the_last_result_changes_nothing() -> None:
    async def main() -> None:
        engine = engine_for(Scripted(always(OK)))
        results = await collect(engine, Source(records(3)).batches())
        engine.drain()
        assert len(results) == 3
        assert not engine.drained

    run_virtual(main())


def test_stop_finishes_calls_under_way_and_raises_its_error() -> None:
    async def main() -> None:
        operation = Scripted(always(OK), took_s=1.0)
        engine = engine_for(operation, options=EngineOptions(concurrency=3))
        collected: list[Result] = []

        async def consume() -> None:
            async for some in engine.run(Source(records(100)).batches()):
                collected.extend(some)

        run = asyncio.create_task(consume())
        await asyncio.sleep(0.5)
        engine.stop(RunStopped("disk full"))
        engine.stop(RunStopped("a later one"))
        with pytest.raises(RunStopped, match="disk full"):
            await run
        assert sorted(r.seq for r in collected) == [1, 2, 3]
        assert len(operation.calls) == 3
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize("per_second", [None, 5])
def test_leaving_the_iteration_early_ends_everything(per_second: int | None) -> None:
    async def main() -> None:
        operation = Scripted(by_row({2: [HANG], 3: ["InternalError"] * 9}))
        source = Source(records(1_000))
        engine = engine_for(operation, per_second=per_second)
        async with aclosing(engine.run(source.batches())) as lists:
            async for _ in lists:
                break
        # The quota is the caller's: its task goes when nobody waits any more.
        await asyncio.sleep(1)
        assert not other_tasks()
        assert operation.under_way == 0
        assert source.closed
        assert await calls_after(60, operation) == 0

    run_virtual(main())


def test_cancelling_the_consumer_ends_everything() -> None:
    async def main() -> None:
        operation = Scripted(always(HANG))
        source = Source(records(1_000))
        run = asyncio.create_task(collect(engine_for(operation), source.batches()))
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not other_tasks()
        assert operation.under_way == 0
        assert source.closed

    run_virtual(main())


# -- Broken by the source or by a call -------------------------------------------------------


@pytest.mark.parametrize("error", [InputBroken("line 4 is cut off"), ValueError("a defect")])
def test_an_error_of_the_source_comes_after_the_rows_before_it(error: Exception) -> None:
    async def breaking() -> AsyncIterator[Batch]:
        yield list(records(3))
        raise error

    async def main() -> None:
        engine = engine_for(Scripted(always(OK), took_s=2.0))
        results: list[Result] = []
        with pytest.raises(type(error), match=str(error)):
            async for some in engine.run(breaking()):
                results += some
        assert sorted(r.seq for r in results) == [1, 2, 3]
        assert not engine.tally.exhausted
        assert not other_tasks()

    run_virtual(main())


def test_a_source_whose_own_work_was_cancelled_does_not_hang_the_run() -> None:
    async def cancelled() -> AsyncIterator[Batch]:
        yield list(records(3))
        raise asyncio.CancelledError

    async def main() -> None:
        engine = engine_for(Scripted(always(OK)))
        results: list[Result] = []
        with pytest.raises(RunStopped):
            async with asyncio.timeout(60), aclosing(engine.run(cancelled())) as lists:
                async for some in lists:
                    results += some
        assert sorted(r.seq for r in results) == [1, 2, 3]
        assert not other_tasks()

    run_virtual(main())


class Defective(Scripted):
    """Raises what no operation should raise, for row 3."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(always(OK), took_s=1.0)
        self._error = error

    async def attempt(self, record: Record) -> Result:
        if record.seq == 3:
            raise self._error
        return await super().attempt(record)


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(ZeroDivisionError("a defect"), ZeroDivisionError), (asyncio.CancelledError(), RunStopped)],
)
def test_a_defect_of_the_operation_surfaces(raised: BaseException, seen: type[Exception]) -> None:
    async def main() -> None:
        operation = Defective(raised)
        engine = engine_for(operation, options=EngineOptions(concurrency=4))
        async with asyncio.timeout(60):
            results, error = await outcome_of(engine, records(100))
        assert isinstance(error, seen)
        assert {r.seq for r in results} == {seq for _, seq in operation.calls} <= {1, 2, 4}
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize(("before", "after"), [(4, 32), (32, 4)])
def test_concurrency_can_be_changed_in_the_middle(before: int, after: int) -> None:
    async def main() -> None:
        operation = Scripted(always(OK), took_s=lambda row: 1.0)
        engine = engine_for(operation, options=EngineOptions(concurrency=before))
        under_way: list[int] = []

        async def change() -> None:
            await asyncio.sleep(2.5)
            engine.set_concurrency(after)
            for _ in range(4):
                await asyncio.sleep(1.0)
                under_way.append(operation.under_way)

        changing = asyncio.create_task(change())
        results, error = await outcome_of(engine, records(400))
        await changing
        assert error is None
        assert sorted(result.seq for result in results) == list(range(1, 401))
        assert under_way[1:] == [after] * 3
        assert not other_tasks()

    run_virtual(main())
