"""What stops a run before its input ends: fatal errors, unusable keys, too many failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from batchkms.engine import Batch, EngineOptions
from batchkms.errors import RunStopped, TooManyFailures
from batchkms.failurerules import MaxFailures
from batchkms.records import EarlierResult, Record, Result, rejected
from batchkms.tally import Tally
from tests.scripted import (
    OK,
    Scripted,
    always,
    by_row,
    engine_for,
    other_tasks,
    outcome_of,
    record,
    records,
)
from tests.virtual_time import run_virtual

REFUSED = "InvalidParameterValue.InvalidPlaintext"
NO_CREDENTIALS = "AuthFailure.SecretIdNotFound"


def broken_row(seq: int) -> Result:
    return rejected(seq, None, "InvalidJson", f"line {seq} is no JSON")


def test_an_error_with_the_run_as_its_scope_stops_it() -> None:
    async def main() -> None:
        operation = Scripted(by_row({5: [NO_CREDENTIALS]}), took_s=lambda row: row.seq * 0.01)
        engine = engine_for(operation, options=EngineOptions(concurrency=8))
        results, error = await outcome_of(engine, records(1_000))
        assert isinstance(error, RunStopped)
        assert str(error).startswith(NO_CREDENTIALS)
        assert error.hint is not None and "secret" in error.hint
        # Those that were under way at that moment were finished and kept, nothing was begun.
        assert {r.seq for r in results} == {seq for _, seq in operation.calls} - {5}
        assert len(operation.calls) < 20
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_a_call_under_way_when_the_run_is_stopped_is_not_tried_again(uniform: float) -> None:
    async def main() -> None:
        script = by_row({1: [NO_CREDENTIALS], 2: ["InternalError"] * 3})
        operation = Scripted(script, took_s=lambda row: row.seq * 1.0)
        engine = engine_for(operation, uniform=lambda: uniform)
        results, error = await outcome_of(engine, records(2))
        assert isinstance(error, RunStopped)
        assert [seq for _, seq in operation.calls] == [1, 2]
        assert results == [], "row 2 is not given up: a resume sends it again"

    run_virtual(main())


def test_one_unusable_key_for_all_rows_stops_the_run() -> None:
    async def main() -> None:
        engine = engine_for(Scripted(by_row({3: ["ResourceUnavailable.CmkDisabled"]})))
        _, error = await outcome_of(engine, records(2_000))
        assert isinstance(error, RunStopped)
        assert "the CMK the-only-key cannot be used" in str(error)

    run_virtual(main())


@pytest.mark.parametrize("code", ["ResourceUnavailable.CmkNotFound", "UnauthorizedOperation"])
def test_with_keys_per_record_an_unusable_key_fails_only_its_own_rows(code: str) -> None:
    async def main() -> None:
        operation = Scripted(lambda row, number: code if row.key_id == "bad" else OK)
        options = EngineOptions(concurrency=4, key_per_record=True)
        items = [record(seq, key_id="bad" if seq % 2 else "good") for seq in range(1, 401)]
        results, error = await outcome_of(engine_for(operation, options=options), items)
        assert error is None
        assert {r.seq for r in results if r.ok} == set(range(2, 401, 2))
        assert {r.code for r in results if not r.ok} == {code}
        asked = [seq for _, seq in operation.calls if seq % 2]
        assert len(asked) <= 4, "only calls under way at the first refusal"
        not_sent = [r for r in results if not r.ok and r.attempts == 0]
        assert len(not_sent) == 200 - len(asked)
        assert all((r.message or "").startswith("not sent:") for r in not_sent)

    run_virtual(main())


@pytest.mark.parametrize(("failing", "stopped"), [(100, True), (99, False)])
def test_the_first_hundred_rows_all_failed(failing: int, stopped: bool) -> None:
    async def main() -> None:
        operation = Scripted(lambda row, number: REFUSED if row.seq <= failing else OK)
        results, error = await outcome_of(engine_for(operation), records(3_000))
        assert isinstance(error, TooManyFailures) is stopped
        assert sum(not r.ok for r in results) == failing
        assert (len(results) == 3_000) is not stopped

    run_virtual(main())


@pytest.mark.parametrize("batch", [1, 250])
def test_a_hundred_rows_that_cannot_be_sent_stop_the_run_within_their_batch(batch: int) -> None:
    async def main() -> None:
        operation = Scripted(always(OK))
        items: list[Record | Result] = [broken_row(seq) for seq in range(1, 101)]
        items += [record(seq) for seq in range(101, 251)]
        results, error = await outcome_of(engine_for(operation), items, batch=batch)
        assert isinstance(error, TooManyFailures)
        assert [r.seq for r in results] == list(range(1, 101))
        assert operation.calls == [], "nothing is begun after a stop"
        assert not other_tasks()

    run_virtual(main())


def test_a_row_that_stops_the_run_ends_its_own_batch_too() -> None:
    async def batches() -> AsyncIterator[Batch]:
        yield [record(1)]
        await asyncio.sleep(0.5)  # row 1 is under way by then
        yield [broken_row(2), record(3), broken_row(4)]

    async def main() -> None:
        operation = Scripted(always(OK), took_s=1.0)
        engine = engine_for(operation, options=EngineOptions(max_failures=MaxFailures(rows=0)))
        results: list[Result] = []
        with pytest.raises(TooManyFailures):
            async for some in engine.run(batches()):
                results += some
        assert {r.seq for r in results} == {1, 2}
        assert operation.count(3) == 0

    run_virtual(main())


@pytest.mark.parametrize(
    ("cap", "failing", "stopped"),
    [
        (MaxFailures(rows=0), {50}, True),
        (MaxFailures(rows=3), {20, 40, 60}, False),
        (MaxFailures(rows=3), {20, 40, 60, 80}, True),
        (MaxFailures(share=0.05), set(range(10, 320, 30)), False),
        (MaxFailures(share=0.05), set(range(10, 320, 16)), True),
        (MaxFailures(share=0.05), set(range(1, 90, 4)), True),
    ],
)
def test_max_failures(cap: MaxFailures, failing: set[int], stopped: bool) -> None:
    async def main() -> None:
        operation = Scripted(lambda row, number: REFUSED if row.seq in failing else OK)
        # All 320 rows are read at once: the share is one of the rows that are done.
        engine = engine_for(operation, options=EngineOptions(max_failures=cap))
        results, error = await outcome_of(engine, records(320), batch=320)
        assert isinstance(error, TooManyFailures) is stopped
        assert (len(results) == 320) is not stopped

    run_virtual(main())


@pytest.mark.parametrize(("rows", "exceeded"), [(99, False), (100, True)])
def test_a_share_is_judged_from_a_hundred_rows_on(rows: int, exceeded: bool) -> None:
    assert MaxFailures(share=0.01).exceeded(50, rows) is exceeded
    assert not MaxFailures().exceeded(rows, rows)


def test_failures_of_another_run_that_pass_through_stop_nothing() -> None:
    async def main() -> None:
        operation = Scripted(always(OK))
        earlier: list[Record | Result] = [
            EarlierResult(**msgspec.structs.asdict(broken_row(seq))) for seq in range(1, 151)
        ]
        engine = engine_for(operation, options=EngineOptions(max_failures=MaxFailures(rows=0)))
        results, error = await outcome_of(engine, [*earlier, record(151)])
        assert error is None
        assert len(results) == 151
        assert engine.tally.passed_on == 150

    run_virtual(main())


def test_a_hundred_failures_after_a_resume_stop_nothing_if_rows_were_ok_before() -> None:
    async def main() -> None:
        operation = Scripted(lambda row, number: REFUSED if row.seq <= 100 else OK)
        tally = Tally()
        tally.count(Result(seq=1_000, id="kept", status="ok", attempts=1))
        engine = engine_for(operation, tally=tally)
        results, error = await outcome_of(engine, records(150))
        assert error is None
        assert len(results) == 150

    run_virtual(main())
