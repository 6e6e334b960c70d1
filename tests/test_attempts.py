"""One record's way: attempts, deadline, what its Result says, and what may be said of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from batchkms.attempts import Attempts, NotDone
from batchkms.errors import KmsError, RunStopped, ServiceError
from batchkms.quota import Group, Quotas
from batchkms.records import ErrorClass, Record, Result
from batchkms.retry import RetryPolicy
from batchkms.tally import Tally
from tests.scripted import HANG, OK, Scripted, by_row, now_s, record
from tests.virtual_time import run_virtual


def attempts_for(
    operation: Scripted,
    *,
    quotas: Quotas | None = None,
    retry: RetryPolicy | None = None,
    tally: Tally | None = None,
    key_per_record: bool = False,
    uniform: float = 0.5,
) -> Attempts:
    return Attempts(
        operation,
        quotas=quotas or Quotas({Group.CRYPT: None}),
        retry=retry or RetryPolicy(),
        tally=tally or Tally(),
        key_per_record=key_per_record,
        uniform=lambda: uniform,
    )


def test_a_success_tells_attempts_and_the_latency_of_the_last_one() -> None:
    async def main() -> None:
        tally = Tally()
        operation = Scripted(by_row({1: ["InternalError", "Http503"]}), took_s=0.25)
        result = await attempts_for(operation, tally=tally).settle(record(1))
        assert (result.ok, result.attempts) == (True, 3)
        assert result.latency_ms == pytest.approx(250, abs=0.01), "without backoff and quota"
        assert (tally.calls, tally.retries, tally.throttled) == (3, 2, 0)

    run_virtual(main())


def test_waiting_for_the_quota_is_no_latency() -> None:
    async def main() -> None:
        quotas = Quotas({Group.CRYPT: 1})
        attempts = attempts_for(Scripted(by_row({}), took_s=0.1), quotas=quotas)
        results = await asyncio.gather(*(attempts.settle(record(seq)) for seq in (1, 2, 3)))
        assert [r.latency_ms for r in results] == pytest.approx([100] * 3, abs=0.01)
        await quotas.aclose()

    run_virtual(main())


def test_a_row_that_is_given_up_says_everything_about_its_last_error() -> None:
    class Refusing(Scripted):
        async def attempt(self, record: Record) -> Result:
            await asyncio.sleep(0.02)
            raise ServiceError("InvalidParameter", "no good", request_id="r-7")

    async def main() -> None:
        row = Record(seq=9, id="x", plaintext=b"p" * 8, encryption_context='{"a":"b"}')
        result = await attempts_for(Refusing(by_row({}))).settle(row)
        assert result == Result(
            seq=9,
            id="x",
            status="failed",
            key_id="the-only-key",
            encryption_context='{"a":"b"}',
            error_class=ErrorClass.INVALID_REQUEST,
            code="InvalidParameter",
            message="no good",
            request_id="r-7",
            attempts=1,
            latency_ms=result.latency_ms,
        )
        assert result.latency_ms == pytest.approx(20, abs=0.01)

    run_virtual(main())


def test_backoff_is_waited_between_attempts() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["InternalError"] * 4}), took_s=0.0)
        await attempts_for(operation, uniform=1.0).settle(record(1))
        gaps = [b - a for a, b in zip(operation.times, operation.times[1:], strict=False)]
        assert gaps == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.001)

    run_virtual(main())


def test_no_answer_before_the_deadline() -> None:
    async def main() -> None:
        retry = RetryPolicy(deadline_s=3.0, attempt_timeout_s=10.0)
        began = now_s()
        script = by_row({1: ["InternalError", HANG]})
        result = await attempts_for(Scripted(script), retry=retry).settle(record(1))
        assert now_s() - began == pytest.approx(3.0, abs=0.01)
        assert (result.code, result.error_class, result.attempts) == (
            "AttemptTimeout",
            ErrorClass.NETWORK,
            2,
        )

    run_virtual(main())


def test_no_call_is_made_when_the_time_ran_out_while_waiting_for_the_quota() -> None:
    async def main() -> None:
        quotas, tally = Quotas({Group.CRYPT: 1}), Tally()
        # The next permit takes a second.
        retry = RetryPolicy(deadline_s=0.5)
        operation = Scripted(by_row({1: ["InternalError"]}))
        attempts = attempts_for(operation, quotas=quotas, retry=retry, tally=tally)
        result = await attempts.settle(record(1))
        # The cause is what the service said, and not that our time was over.
        assert (result.code, result.attempts) == ("InternalError", 1)
        assert tally.calls == len(operation.calls) == 1
        await quotas.aclose()

    run_virtual(main())


def test_a_row_that_is_tried_again_goes_before_those_that_have_not_begun() -> None:
    async def main() -> None:
        quotas, tally = Quotas({Group.CRYPT: 1}), Tally()
        retry = RetryPolicy(deadline_s=5.0)
        operation = Scripted(by_row({1: ["InternalError"]}))
        attempts = attempts_for(operation, quotas=quotas, retry=retry, tally=tally)
        first = asyncio.create_task(attempts.settle(record(1)))
        await asyncio.sleep(0)
        crowd = [asyncio.create_task(attempts.settle(record(seq))) for seq in range(2, 12)]
        result = await first
        assert (result.ok, result.attempts) == (True, 2)
        assert all(r.ok for r in await asyncio.gather(*crowd))
        assert tally.calls == len(operation.calls) == 12
        await quotas.aclose()

    run_virtual(main())


def test_a_throttled_answer_lowers_the_pace_and_is_counted() -> None:
    async def main() -> None:
        quotas, tally = Quotas({Group.CRYPT: 300}), Tally()
        operation = Scripted(by_row({1: ["RequestLimitExceeded.UinLimitExceeded"]}))
        attempts = attempts_for(operation, quotas=quotas, tally=tally)
        assert quotas[Group.CRYPT].pace() == 300
        assert (await attempts.settle(record(1))).ok
        assert tally.throttled == 1
        assert (quotas[Group.CRYPT].pace() or 0) < 300
        await quotas.aclose()

    run_virtual(main())


@pytest.mark.parametrize("form", ["hunter2-hunter2", "aHVudGVyMi1odW50ZXIy"])
@pytest.mark.parametrize("code", ["InvalidParameter", "AuthFailure.TokenFailure"])
def test_what_the_service_echoes_is_scrubbed_in_results_and_in_what_stops_the_run(
    form: str, code: str
) -> None:
    class Echoing(Scripted):
        async def attempt(self, record: Record) -> Result:
            raise ServiceError(code, f"the value {form} is not valid", request_id="r-1")

    async def main() -> None:
        row = Record(seq=1, id="x", plaintext=b"hunter2-hunter2")
        try:
            result = await attempts_for(Echoing(by_row({}))).settle(row)
            said = str(msgspec.structs.asdict(result))
        except RunStopped as error:
            said = f"{error!r} {error} {error.hint}"
        assert code in said
        assert form not in said
        assert "[redacted]" in said

    run_virtual(main())


def test_a_refused_key_is_asked_for_once_and_its_rows_say_why() -> None:
    async def main() -> None:
        operation = Scripted(lambda row, number: "ResourceUnavailable.CmkArchived")
        attempts = attempts_for(operation, key_per_record=True)
        first = await attempts.settle(record(1, key_id="k"))
        second = await attempts.settle(record(2, key_id="k"))
        await attempts.settle(record(3, key_id="other"))
        assert [seq for _, seq in operation.calls] == [1, 3]
        assert (first.attempts, second.attempts) == (1, 0)
        assert second.code == first.code
        assert second.error_class is ErrorClass.KEY_UNAVAILABLE
        assert second.message == f"not sent: the CMK was refused earlier ({first.message})"

    run_virtual(main())


def test_a_row_in_backoff_is_not_sent_once_its_key_was_refused() -> None:
    async def main() -> None:
        script = by_row({1: ["InternalError"], 2: ["ResourceUnavailable.CmkDisabled"]})
        operation = Scripted(script)
        attempts = attempts_for(operation, key_per_record=True, uniform=1.0)
        waiting = asyncio.create_task(attempts.settle(record(1)))
        await asyncio.sleep(0.05)
        await attempts.settle(record(2))
        result = await waiting
        assert (result.code, result.attempts) == ("ResourceUnavailable.CmkDisabled", 1)
        assert operation.count(1) == 1

    run_virtual(main())


def test_after_finish_nothing_is_tried_again() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["InternalError"], 2: [OK], 3: ["InvalidParameter"]}))
        attempts = attempts_for(operation)
        settling = [asyncio.create_task(attempts.settle(record(seq))) for seq in (1, 2, 3)]
        await asyncio.sleep(0.005)
        attempts.finish()
        first, second, third = await asyncio.gather(*settling, return_exceptions=True)
        assert isinstance(first, NotDone)
        assert isinstance(second, Result) and second.ok
        assert isinstance(third, Result) and third.code == "InvalidParameter"

    run_virtual(main())


def test_an_unknown_code_is_kept_verbatim_and_not_retried() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["Weird.Code"]}))
        result = await attempts_for(operation).settle(record(1))
        assert (result.code, result.error_class) == ("Weird.Code", ErrorClass.UNKNOWN)
        assert result.attempts == 1

    run_virtual(main())


def test_calling_tells_a_call_from_a_wait() -> None:
    async def main() -> None:
        operation = Scripted(by_row({1: ["InternalError"]}), took_s=0.1)
        attempts = attempts_for(operation, uniform=1.0)
        task: asyncio.Task[None] = asyncio.create_task(_settle(attempts, record(1)))
        seen = []
        for _ in range(4):
            await asyncio.sleep(0.08)
            seen.append(attempts.calling(task))
        # A call until 0.1 s, backoff until 0.2 s, a call until 0.3 s, then done.
        assert seen == [True, False, True, False]
        await task

    run_virtual(main())


async def _settle(attempts: Attempts, row: Record) -> None:
    await attempts.settle(row)


def test_a_message_is_no_part_of_a_result_when_there_is_none() -> None:
    class Silent(Scripted):
        async def attempt(self, record: Record) -> Result:
            raise KmsError("InvalidParameter", "")

    async def main() -> None:
        assert (await attempts_for(Silent(by_row({}))).settle(record(1))).message is None

    run_virtual(main())


def test_a_refused_cmk_costs_no_memory_for_each_of_its_rows() -> None:
    async def main() -> None:
        operation = Scripted(by_row({}, then="ResourceUnavailable.CmkDisabled"))
        attempts = attempts_for(operation, key_per_record=True)
        for seq in range(1, 200):
            result = await attempts.settle(record(seq, key_id="k"))
            assert (result.message or "").count("not sent") == (seq > 1)
        (refused,) = attempts.refused_keys.values()
        frames, trace = 0, refused.__traceback__
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        assert frames < 10

    run_virtual(main())


def test_only_so_many_refused_cmks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchkms.attempts.REFUSED_KEYS", 2)

    async def main() -> None:
        operation = Scripted(by_row({}, then="ResourceUnavailable.CmkDisabled"))
        attempts = attempts_for(operation, key_per_record=True)
        for seq, key_id in enumerate("abcca", 1):
            await attempts.settle(record(seq, key_id=key_id))
        assert list(attempts.refused_keys) == ["c", "a"]
        assert len(operation.calls) == 4

    run_virtual(main())
