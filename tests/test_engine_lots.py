"""Records that need no calls of their own are done in lots: their bounds, order, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.engine import LOT_BYTES, LOT_RECORDS, Engine, EngineOptions
from batchkms.errors import KmsError, RunStopped
from batchkms.operations.base import Calls
from batchkms.quota import Group, Quotas
from batchkms.records import Record, Result
from tests.scripted import (
    OK,
    Scripted,
    Source,
    always,
    other_tasks,
    outcome_of,
    record,
    records,
    results_of,
)
from tests.virtual_time import run_virtual

LOCAL = "local"


class InLots(Scripted):
    """Does those records in lots whose `key_id` is LOCAL, or all of them.

    A lot takes `lot_s`; with `calls` it makes so many calls, each answered by the script for its
    first row. `lots` holds the `seq` of each lot's rows.
    """

    def __init__(self, *, everything: bool = True, lot_s: float = 0.0, calls: int = 0) -> None:
        super().__init__(always(OK))
        self._everything = everything
        self._lot_s = lot_s
        self._calls = calls
        self.lots: list[list[int]] = []
        self.bytes: list[int] = []
        self.defect: BaseException | None = None
        self.failing: set[int] = set()

    def is_local(self, record: Record) -> bool:
        return self._everything or record.key_id == LOCAL

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        self.lots.append([row.seq for row in records])
        self.bytes.append(sum(row.size_bytes for row in records))
        for _ in range(self._calls):
            await calls.make(Group.CRYPT, lambda: self.attempt(records[0]))
        if self._lot_s:
            await asyncio.sleep(self._lot_s)
        if self.defect is not None and len(self.lots) > 1:
            raise self.defect
        return [
            KmsError("InvalidEnvelope", "m") if row.seq in self.failing else _done(row)
            for row in records
        ]


def _done(row: Record) -> Result:
    return Result(
        seq=row.seq, id=row.id, status="ok", ciphertext="c" * len(row.plaintext), attempts=0
    )


def engine_on(operation: Scripted, options: EngineOptions | None = None) -> Engine:
    return Engine(operation, quotas=Quotas({Group.CRYPT: None}), options=options)


def held(engine: Engine) -> tuple[int, int]:
    """How many items and bytes the window still counts."""
    window, options = engine._window, engine._options
    items = options.queue_records + options.concurrency - window._items_left
    return items, options.queue_bytes - window._bytes_left


# -- Bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [1, 4_096, 100_000, 1024 * 1024 - 1, 1024 * 1024, 1_500_000])
def test_a_lot_is_bounded_in_rows_and_bytes(size_bytes: int) -> None:
    async def main() -> None:
        operation = InLots()
        rows = 600 if size_bytes < 100_000 else 40
        items = [record(seq, size_bytes=size_bytes) for seq in range(1, rows + 1)]
        results, error = await outcome_of(engine_on(operation), items, batch=rows)
        assert (error, len(results)) == (None, rows)
        assert max(map(len, operation.lots)) <= LOT_RECORDS
        # The row that fills it may go beyond, so that every row finds a lot.
        assert max(operation.bytes) < LOT_BYTES + items[-1].size_bytes
        if size_bytes == 1:
            assert max(map(len, operation.lots)) == LOT_RECORDS, "they are not all small"

    run_virtual(main())


def test_others_have_a_turn_between_lots() -> None:
    async def main() -> None:
        operation = InLots()
        turns = count()
        stop = False

        async def other() -> None:
            while not stop:
                next(turns)
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await results_of(engine_on(operation), records(20_000))
        stop = True
        await beside
        assert next(turns) > len(operation.lots) / 10

    run_virtual(main())


def test_a_lot_holds_only_local_rows_and_in_their_order() -> None:
    async def main() -> None:
        operation = InLots(everything=False)
        items = [record(seq, key_id=LOCAL if seq % 10 else None) for seq in range(1, 501)]
        results, error = await outcome_of(engine_on(operation), items, batch=100)
        assert error is None
        assert sorted(result.seq for result in results) == list(range(1, 501))
        for lot in operation.lots:
            assert lot == list(range(lot[0], lot[-1] + 1))
            assert not any(seq % 10 == 0 for seq in lot)
        assert sorted(seq for _, seq in operation.calls) == list(range(10, 501, 10))

    run_virtual(main())


# -- Order and accounts ----------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(1, 3_000_000)), max_size=60),
    concurrency=st.integers(1, 8),
    queue=st.integers(1, 40),
    batch=st.integers(1, 30),
    ordered=st.booleans(),
    lot_s=st.sampled_from([0.0, 0.5]),
    failing=st.sets(st.integers(1, 60), max_size=10),
)
def test_every_row_has_one_result_and_nothing_stays_counted(
    rows: list[tuple[bool, int]],
    concurrency: int,
    queue: int,
    batch: int,
    ordered: bool,
    lot_s: float,
    failing: set[int],
) -> None:
    async def main() -> None:
        operation = InLots(everything=False, lot_s=lot_s)
        operation.failing = failing
        items = [
            record(seq, key_id=LOCAL if local else None, size_bytes=size_bytes if local else 8)
            for seq, (local, size_bytes) in enumerate(rows, 1)
        ]
        engine = engine_on(
            operation,
            EngineOptions(concurrency=concurrency, queue_records=queue, ordered=ordered),
        )
        results, error = await outcome_of(engine, items, batch=batch)
        assert error is None
        seqs = [result.seq for result in results]
        assert sorted(seqs) == list(range(1, len(rows) + 1))
        assert not ordered or seqs == sorted(seqs)
        local = {seq for seq, (is_local, _) in enumerate(rows, 1) if is_local}
        assert {r.seq for r in results if not r.ok} == failing & local
        assert held(engine) == (0, 0)
        assert engine.tally.done == len(rows)
        assert not other_tasks()

    run_virtual(main())


def test_results_that_nobody_takes_stay_within_the_window() -> None:
    async def main() -> None:
        operation = InLots()
        options = EngineOptions(queue_bytes=4 * 1024 * 1024)
        engine = engine_on(operation, options)
        source = Source((record(seq, size_bytes=500_000) for seq in range(1, 201)), batch=1)
        taken: list[int] = []
        async with aclosing(engine.run(source.batches())) as lists:
            async for _ in lists:
                await asyncio.sleep(10)
                taken.append(source.taken)
                if len(taken) == 2:
                    break
        # Besides those that were handed out, what fits in, and the one that waits for room.
        assert taken[0] <= 10
        assert taken[1] <= 20

    run_virtual(main())


def test_the_calls_of_a_lot_count_for_its_first_row() -> None:
    async def main() -> None:
        operation = InLots(calls=3)
        results, _ = await outcome_of(engine_on(operation), records(50), batch=50)
        attempts = {result.seq: result.attempts for result in results}
        first = {lot[0] for lot in operation.lots}
        assert {seq for seq, made in attempts.items() if made} == first
        assert sum(attempts.values()) == len(operation.calls) == 3 * len(operation.lots)
        assert all((r.latency_ms is not None) == (r.seq in first) for r in results)

    run_virtual(main())


# -- Ends ------------------------------------------------------------------------------------


def test_drain_finishes_the_lots_under_way_and_takes_no_more() -> None:
    async def main() -> None:
        operation = InLots(lot_s=1.0)
        source = Source(records(5_000), batch=100)
        engine = engine_on(operation, EngineOptions(concurrency=4))
        results: list[Result] = []

        async def consume() -> None:
            async for some in engine.run(source.batches()):
                results.extend(some)

        run = asyncio.create_task(consume())
        await asyncio.sleep(1.5)
        begun = len(operation.lots)
        engine.drain()
        await run
        assert len(operation.lots) == begun
        assert sorted(r.seq for r in results) == sorted(
            seq for lot in operation.lots for seq in lot
        )
        assert all(result.ok for result in results)
        assert engine.drained
        assert not other_tasks()

    run_virtual(main())


def test_stop_keeps_whole_lots_or_nothing_of_them() -> None:
    async def main() -> None:
        operation = InLots(lot_s=1.0)
        engine = engine_on(operation, EngineOptions(concurrency=4))
        results: list[Result] = []

        async def consume() -> None:
            async for some in engine.run(Source(records(5_000), batch=100).batches()):
                results.extend(some)

        run = asyncio.create_task(consume())
        await asyncio.sleep(1.5)
        engine.stop(RunStopped("disk full"))
        with pytest.raises(RunStopped, match="disk full"):
            await run
        done = {result.seq for result in results}
        for lot in operation.lots:
            assert done.issuperset(lot) or done.isdisjoint(lot)
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(ZeroDivisionError("a defect"), ZeroDivisionError), (asyncio.CancelledError(), RunStopped)],
)
def test_a_defect_in_a_lot_surfaces(raised: BaseException, seen: type[Exception]) -> None:
    async def main() -> None:
        operation = InLots(lot_s=0.5)
        operation.defect = raised
        engine = engine_on(operation, EngineOptions(concurrency=3))
        async with asyncio.timeout(60):
            results, error = await outcome_of(engine, records(2_000), batch=100)
        assert isinstance(error, seen)
        assert {r.seq for r in results} <= set(operation.lots[0])
        assert not other_tasks()

    run_virtual(main())


def test_too_few_results_of_a_lot_are_a_defect() -> None:
    class Forgetful(InLots):
        async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
            return (await super().do_lot(records, calls))[:-1]

    async def main() -> None:
        results, error = await outcome_of(engine_on(Forgetful()), records(20))
        assert isinstance(error, ValueError)
        assert results == []

    run_virtual(main())


def test_an_error_that_condemns_the_run_stops_it_out_of_a_lot() -> None:
    class Refused(InLots):
        async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
            return [KmsError("AuthFailure.SecretIdNotFound", "m") for _ in records]

    async def main() -> None:
        engine = engine_on(Refused())
        results, error = await outcome_of(engine, records(500), batch=50)
        assert (results, type(error)) == ([], RunStopped)
        assert not other_tasks()

    run_virtual(main())
