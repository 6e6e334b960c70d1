"""The bounds of what is under way, and the outbox that keeps the order."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.engine import EngineOptions
from batchkms.flow import GATHER_S, Outbox, Window
from batchkms.records import Record, Result, rejected
from tests.scripted import HANG, OK, Scripted, Source, always, engine_for, now_s, record, records
from tests.virtual_time import run_virtual


def result(seq: int) -> Result:
    return rejected(seq, None, "InvalidJson", "m")


# -- Window ----------------------------------------------------------------------------------


def test_a_window_admits_up_to_its_bounds() -> None:
    window = Window(2, 100)
    assert window.admits(100) and window.admits(0) is not False
    window.enter(60)
    assert window.admits(40)
    assert not window.admits(41)
    window.enter(40)
    assert not window.admits(0), "two items are in"
    window.release(items=1)
    assert window.admits(0)
    assert not window.admits(1)
    window.release(size_bytes=60)
    assert window.admits(60)


def test_what_an_item_grew_by_takes_room() -> None:
    window = Window(10, 100)
    window.enter(60)
    window.hold(80)
    window.release(size_bytes=60)
    assert window.admits(20)
    assert not window.admits(21)
    window.release(items=1, size_bytes=80)
    assert window.admits(100)


def test_an_item_over_the_whole_limit_gets_in_alone() -> None:
    window = Window(10, 100)
    assert window.admits(5_000)
    window.enter(1)
    assert not window.admits(5_000)
    window.release(items=1, size_bytes=1)
    window.enter(5_000)
    assert not window.admits(0)
    window.release(items=1, size_bytes=5_000)
    assert window.admits(100)


def test_waiting_for_room() -> None:
    async def main() -> None:
        window = Window(1, 100)
        window.enter(10)
        waiting = asyncio.create_task(window.room(50))
        await asyncio.sleep(1)
        window.release(size_bytes=10)
        await asyncio.sleep(1)
        assert not waiting.done(), "there is room for bytes, but not for an item"
        window.release(items=1)
        await waiting

    run_virtual(main())


@settings(max_examples=60, deadline=None)
@given(
    queue=st.integers(1, 20),
    concurrency=st.integers(1, 10),
    batch=st.integers(1, 6),
    ordered=st.booleans(),
    slow_s=st.sampled_from([0.0, 0.5]),
)
def test_the_source_is_never_read_further_ahead_than_allowed(
    queue: int, concurrency: int, batch: int, ordered: bool, slow_s: float
) -> None:
    async def main() -> None:
        source = Source(records(200), batch=batch)
        operation = Scripted(always(OK), took_s=lambda row: (row.seq * 7 % 11) / 10)
        options = EngineOptions(concurrency=concurrency, queue_records=queue, ordered=ordered)
        engine = engine_for(operation, options=options)
        handed_out = 0
        async with aclosing(engine.run(source.batches())) as lists:
            async for some in lists:
                # A batch is in hand before its first item waits for room.
                assert source.taken - handed_out <= queue + concurrency + batch
                assert engine.queued <= queue + concurrency
                handed_out += len(some)
                await asyncio.sleep(slow_s)
        assert handed_out == 200

    run_virtual(main())


def test_a_slow_consumer_stops_the_source() -> None:
    async def main() -> None:
        source = Source(records(1_000))
        options = EngineOptions(concurrency=4, queue_records=10)
        operation = Scripted(always(OK))
        async with aclosing(engine_for(operation, options=options).run(source.batches())) as lists:
            await anext(lists)
            await asyncio.sleep(3_600)
            assert source.taken <= 4 + 10 + 1
            assert len(operation.calls) <= 14

    run_virtual(main())


@pytest.mark.parametrize(
    ("size_bytes", "held"), [(10, 100), (100, 10), (400, 2), (1_000, 1), (5_000, 1)]
)
def test_the_bound_in_bytes(size_bytes: int, held: int) -> None:
    async def main() -> None:
        items = [Record(seq=seq, id="", plaintext=b"p" * size_bytes) for seq in range(1, 500)]
        source = Source(items)
        options = EngineOptions(concurrency=2, queue_records=1_000, queue_bytes=1_000)
        engine = engine_for(Scripted(always(HANG)), options=options)
        async with aclosing(engine.run(source.batches())) as lists:
            waiting = asyncio.create_task(anext(lists))
            await asyncio.sleep(10)
            assert engine.tally.rows == held
            assert source.taken == held + 1, "one more waits at the window"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    run_virtual(main())


def test_records_of_any_size_get_through() -> None:
    async def main() -> None:
        sizes = [1, 900, 5_000, 1, 1_000, 1_001, 3]
        items = [record(seq, size_bytes=size) for seq, size in enumerate(sizes, 1)]
        options = EngineOptions(concurrency=2, queue_bytes=1_000)
        engine = engine_for(Scripted(always(OK)), options=options)
        handed_out = 0
        async for some in engine.run(Source(items).batches()):
            handed_out += len(some)
        assert handed_out == len(sizes)

    run_virtual(main())


# -- Outbox ----------------------------------------------------------------------------------


@given(order=st.permutations(range(1, 13)), ordered=st.booleans())
def test_the_outbox_keeps_the_order_or_not(order: list[int], ordered: bool) -> None:
    async def main() -> None:
        outbox = Outbox(ordered=ordered)
        for ordinal in order:
            outbox.put(ordinal, result(ordinal), at_once=True)
        outbox.end()
        seqs = [item.seq for item in await outbox.take()]
        assert seqs == (sorted(order) if ordered else order)
        assert await outbox.take() == []

    run_virtual(main())


def test_nothing_leaves_before_its_turn() -> None:
    async def main() -> None:
        outbox = Outbox(ordered=True)
        taking = asyncio.create_task(outbox.take())
        outbox.put(2, result(2), at_once=True)
        await asyncio.sleep(1)
        assert not taking.done()
        outbox.put(1, result(1), at_once=True)
        assert [item.seq for item in await taking] == [1, 2]

    run_virtual(main())


def test_at_the_end_gaps_are_passed_over() -> None:
    async def main() -> None:
        outbox = Outbox(ordered=True)
        for ordinal in (5, 3):
            outbox.put(ordinal, result(ordinal), at_once=True)
        outbox.end()
        assert [item.seq for item in await outbox.take()] == [3, 5]

    run_virtual(main())


def test_results_that_need_not_leave_at_once_leave_together() -> None:
    async def main() -> None:
        outbox = Outbox(ordered=False)
        began = now_s()
        for ordinal in (1, 2, 3):
            outbox.put(ordinal, result(ordinal), at_once=False)
        assert len(await outbox.take()) == 3
        assert now_s() - began == pytest.approx(GATHER_S, abs=0.001)
        outbox.put(4, result(4), at_once=False)
        outbox.put(5, result(5), at_once=True)
        assert len(await outbox.take()) == 2
        assert now_s() - began == pytest.approx(GATHER_S, abs=0.001)

    run_virtual(main())
