"""An outage: the run pauses, probes one at a time, and goes on or stops; no row is burnt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from batchkms.engine import EngineOptions
from batchkms.errors import OutageError
from batchkms.records import Record
from batchkms.retry import RetryPolicy
from tests.scripted import (
    HANG,
    OK,
    Scripted,
    engine_for,
    now_s,
    other_tasks,
    outcome_of,
    records,
    results_of,
)
from tests.virtual_time import run_virtual

EIGHT = EngineOptions(concurrency=8, queue_records=50)


def down(*, since_s: float, until_s: float, code: str = "ServiceUnavailable") -> Scripted:
    """A service that is down between two times after the first call; a call takes 20 ms."""
    began: list[float] = []

    def script(row: Record, number: int) -> str:
        if not began:
            began.append(now_s())
        return code if since_s <= now_s() - began[0] < until_s else OK

    return Scripted(script, took_s=0.02)


@pytest.mark.parametrize("code", ["ServiceUnavailable", "ConnectTimeout", "NotJson"])
@pytest.mark.parametrize("since_s", [0.0, 0.5])
@pytest.mark.parametrize("jitter", [0.5, 0.0], ids=["usual pauses", "short pauses"])
def test_no_row_is_burnt_by_an_outage(
    code: str, since_s: float, jitter: float, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        operation = down(since_s=since_s, until_s=100.0, code=code)
        # With short pauses every attempt of a row is made before the outage is known.
        engine = engine_for(operation, options=EIGHT, uniform=lambda: jitter)
        results = await results_of(engine, records(1_000))
        assert len(results) == 1_000
        assert all(r.ok for r in results)
        assert not engine.outage
        assert not other_tasks()

    with caplog.at_level(logging.WARNING):
        run_virtual(main())
    assert "nothing succeeds" in caplog.text
    assert "the service answers again" in caplog.text


def test_rows_that_fail_while_another_is_answered_are_given_up_within_a_second() -> None:
    async def main() -> None:
        operation = Scripted(
            lambda row, number: OK if row.seq == 7 else "ServiceUnavailable",
            took_s=lambda row: 0.5 if row.seq == 7 else 0.02,
        )
        engine = engine_for(operation, options=EIGHT, uniform=lambda: 0.0)
        began = now_s()
        results = {result.seq: result for result in await results_of(engine, records(7))}
        assert now_s() - began < 1.1
        assert results.pop(7).ok
        # Not once more than allowed, though nothing had succeeded when they were used up.
        assert [(r.ok, r.attempts) for r in results.values()] == [(False, 8)] * 6

    run_virtual(main())


@pytest.mark.parametrize("cap", [1, 2, 5])
def test_rows_with_few_attempts_keep_no_other_from_being_answered(cap: int) -> None:
    async def main() -> None:
        operation = Scripted(
            lambda row, number: "ServiceUnavailable" if row.seq <= 40 else OK, took_s=0.01
        )
        engine = engine_for(
            operation,
            options=EIGHT,
            retry=RetryPolicy(max_attempts=cap),
            uniform=lambda: 0.0,
        )
        results = await results_of(engine, records(80))
        assert sorted(r.seq for r in results if r.ok) == list(range(41, 81))
        assert {r.attempts for r in results if not r.ok} == {cap}

    run_virtual(main())


def test_rows_that_wait_for_whether_it_is_an_outage_end_with_the_run() -> None:
    async def main() -> None:
        options = EngineOptions(concurrency=8, queue_records=50, drain_grace_s=5.0)
        operation = down(since_s=0.0, until_s=100.0)
        engine = engine_for(operation, options=options, uniform=lambda: 0.0)
        began = now_s()
        asyncio.get_running_loop().call_later(0.5, engine.drain)
        assert await results_of(engine, records(50)) == []
        assert now_s() - began < 5.6
        assert not other_tasks()

    run_virtual(main())


def test_probes_go_one_at_a_time_and_ever_more_slowly() -> None:
    async def main() -> None:
        operation = down(since_s=0.5, until_s=100.0)
        await results_of(engine_for(operation, options=EIGHT), records(400))
        began = operation.times[0]
        during = [at - began for at in operation.times if 10 < at - began < 99]
        gaps = [later - earlier for earlier, later in zip(during, during[1:], strict=False)]
        assert gaps and min(gaps) >= 4.9, "a probe every 5 s, alone"
        burst = [at for at in operation.times if 0.5 <= at - began < 10]
        assert len(burst) < 60, "the outage was noticed soon"

    run_virtual(main())


def test_the_deadline_of_rows_stands_still_during_an_outage() -> None:
    async def main() -> None:
        operation = down(since_s=0.5, until_s=200.0)
        # Far shorter than the outage, long enough to last until it is noticed.
        retry = RetryPolicy(deadline_s=5.0)
        results = await results_of(engine_for(operation, options=EIGHT, retry=retry), records(200))
        assert all(r.ok for r in results)

    run_virtual(main())


def test_attempts_made_as_probes_do_not_use_up_a_row() -> None:
    after: dict[int, int] = {}

    def script(row: Record, number: int) -> str:
        if now_s() < 1_250.0:
            return "ServiceUnavailable"
        # One more failure of a few rows: that is their own and counts.
        after[row.seq] = after.get(row.seq, 0) + 1
        return "InternalError" if row.seq <= 3 and after[row.seq] == 1 else OK

    async def main() -> None:
        operation = Scripted(script, took_s=0.02)
        results = await results_of(engine_for(operation, options=EIGHT), records(8))
        assert all(r.ok for r in results)
        assert min(r.attempts for r in results) > 8
        assert all(r.attempts == operation.count(r.seq) for r in results)

    run_virtual(main())


def test_the_deadline_of_a_row_begun_after_an_outage_is_its_own() -> None:
    def script(row: Record, number: int) -> str:
        if now_s() < 1_200.0:
            return "ServiceUnavailable"
        return HANG if row.seq == 100 else OK

    async def main() -> None:
        operation = Scripted(script, took_s=0.02)
        retry = RetryPolicy(deadline_s=5.0)
        engine = engine_for(operation, options=EIGHT, retry=retry)
        results = {r.seq: r for r in await results_of(engine, records(120))}
        assert [seq for seq, r in results.items() if not r.ok] == [100]
        assert results[100].code == "AttemptTimeout"
        assert results[100].latency_ms == pytest.approx(5_000, abs=1)

    run_virtual(main())


def test_a_probe_may_take_its_full_time() -> None:
    # The rows in flight have almost no time left when the outage is noticed: a probe that
    # inherited that would be cut off before the slow service could answer.
    def script(row: Record, number: int) -> str:
        return "ServiceUnavailable" if now_s() < 1_003.0 else OK

    async def main() -> None:
        slow = Scripted(script, took_s=lambda row: 0.02 if now_s() < 1_003.0 else 1.0)
        retry = RetryPolicy(deadline_s=2.0, attempt_timeout_s=10.0)
        results = await results_of(engine_for(slow, options=EIGHT, retry=retry), records(8))
        # Whoever made that probe is done. The others have the short rest of their time again.
        assert [r.ok for r in results].count(True) == 1
        assert {r.code for r in results if not r.ok} == {"AttemptTimeout"}

    run_virtual(main())


def test_a_spent_budget_stops_the_run_and_burns_nothing() -> None:
    async def main() -> None:
        operation = down(since_s=1.0, until_s=1e9)
        options = EngineOptions(concurrency=8, queue_records=50, outage_budget_s=60.0)
        engine = engine_for(operation, options=options)
        results, error = await outcome_of(engine, records(10_000))
        assert isinstance(error, OutageError)
        assert "60 s" in str(error)
        assert error.hint
        assert results and all(r.ok for r in results), "rows in flight get no result at all"
        assert now_s() - operation.times[0] == pytest.approx(61.0, abs=1.0)
        assert not other_tasks()

    run_virtual(main())


def test_a_refusal_ends_an_outage_for_the_service_is_there() -> None:
    refused = "InvalidParameterValue.InvalidPlaintext"

    def script(row: Record, number: int) -> str:
        if now_s() < 1_030.0:
            return "ServiceUnavailable"
        return refused if row.seq == 1 else OK

    async def main() -> None:
        results = await results_of(engine_for(Scripted(script), options=EIGHT), records(60))
        assert {r.code for r in results} == {None, refused}
        assert sum(r.ok for r in results) == 59

    run_virtual(main())


@pytest.mark.parametrize("seconds", [3.0, 400.0])
def test_a_few_bad_rows_do_not_pause_the_others(seconds: float) -> None:
    # Rows 1 to 3 never succeed; the rest must not wait for them.
    async def main() -> None:
        operation = Scripted(
            lambda row, number: "InternalError" if row.seq <= 3 else OK, took_s=seconds / 100
        )
        engine = engine_for(operation, options=EIGHT)
        began = now_s()
        results = await results_of(engine, records(403))
        assert {r.seq for r in results if not r.ok} == {1, 2, 3}
        assert all(r.attempts == 8 for r in results if not r.ok)
        assert now_s() - began < seconds + 60

    run_virtual(main())


def slow_then(code: str) -> Callable[[Record, int], str]:
    return lambda row, number: HANG if number == 0 else code


def test_calls_that_never_end_are_cut_at_the_deadline() -> None:
    async def main() -> None:
        retry = RetryPolicy(deadline_s=4.0, attempt_timeout_s=10.0)
        engine = engine_for(Scripted(slow_then(OK)), options=EIGHT, retry=retry)
        began = now_s()
        results = await results_of(engine, records(3))
        assert {(r.code, r.attempts) for r in results} == {("AttemptTimeout", 1)}
        assert now_s() - began == pytest.approx(4.0, abs=0.01)

    run_virtual(main())
