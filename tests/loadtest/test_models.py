"""When calls are begun, on virtual time: by the schedule whatever the server does."""

from __future__ import annotations

import asyncio
import math

import pytest

from batchkms.loadtest.call import Call
from batchkms.loadtest.models import ClosedModel, OpenModel
from batchkms.loadtest.schedule import Schedule, Stage
from batchkms.loadtest.timer import LoopTimer
from batchkms.retry import RetryPolicy
from tests.loadtest.served import ROUGHLY, Range, Served
from tests.virtual_time import run_virtual


def steady(seconds: float, rate: float) -> Schedule:
    return Schedule([Stage(seconds, rate, rate)])


def open_model(around: Range, schedule: Schedule, *, grace_s: float = 10.0) -> OpenModel:
    clock = asyncio.get_running_loop().time
    return OpenModel(
        around.flights,
        around.contents,
        schedule,
        lateness=around.lateness,
        grace_s=grace_s,
        timer=lambda callback: LoopTimer(callback, clock),
    )


def attacked(served: Served, schedule: Schedule, *, grace_s: float = 10.0) -> Range:
    async def run() -> Range:
        around = Range(served)
        await open_model(around, schedule, grace_s=grace_s).run()
        return around

    return run_virtual(run())


def percentile_ms(calls: list[Call], point: float, *, from_send: bool = False) -> float:
    times = sorted(
        call.done - ((call.sent or 0.0) if from_send else call.scheduled) for call in calls
    )
    return times[math.ceil(point / 100 * len(times)) - 1] * 1000


def test_each_call_is_sent_when_it_is_due() -> None:
    around = attacked(Served(), Schedule([Stage(2, 50, 150), Stage(1, 150, 150)]))
    schedule = Schedule([Stage(2, 50, 150), Stage(1, 150, 150)])
    assert len(around.calls) == schedule.total == 350
    for number, call in enumerate(around.calls):
        assert call.scheduled == pytest.approx(schedule.time_of(number))
        assert call.sent == pytest.approx(call.scheduled, abs=ROUGHLY)
    assert around.lateness.blocked_s == 0


def stalls(now: float, number: int) -> float:
    """Nothing is answered from second 20 to second 25 of the run, which begins at 1,000."""
    since = now - 1_000
    return 25.001 - since if 20 <= since < 25 else 0.001


def test_a_stall_is_seen_in_every_call_that_was_due_in_it() -> None:
    around = attacked(Served(stalls), steady(60, 300))
    # By hand: of 18,000 calls the 1,500 due in the stall wait for 5 s less what they are late
    # to it, so that the slowest 180 of all have waited for 5 s − 179/300 s or more.
    by_hand_ms = (5.001 - 180 / 300) * 1000
    assert percentile_ms(around.calls, 99) == pytest.approx(by_hand_ms, rel=0.002)
    assert around.served.peak >= 1_500
    assert around.lateness.calls.max_ms < 0.1


def test_with_few_connections_only_latency_from_schedule_shows_the_stall() -> None:
    around = attacked(Served(stalls, most=32), steady(60, 300))
    assert len(around.calls) == 18_000
    by_hand_ms = (5.001 - 180 / 300) * 1000
    assert percentile_ms(around.calls, 99) == pytest.approx(by_hand_ms, rel=0.02)
    assert percentile_ms(around.calls, 99, from_send=True) < 10
    assert around.served.peak == 32
    # What waited for a connection was not the generator's fault, and it says how long it was.
    assert around.lateness.calls.max_ms < 1
    assert around.lateness.blocked_s == pytest.approx(4.9, abs=0.2)


def test_calls_without_a_connection_to_the_end_are_recorded() -> None:
    around = attacked(Served(lambda now, number: 100.0, most=3), steady(5, 10), grace_s=2.0)
    never = [call for call in around.calls if call.sent is None]
    assert len(around.calls) == 50
    assert len(never) == 47
    assert {(call.outcome, call.code) for call in never} == {("network", "NeverSent")}
    assert all(call.done == pytest.approx(7.0, abs=0.01) for call in never)
    assert [call.scheduled for call in never] == pytest.approx([n / 10 for n in range(3, 50)])


def test_a_drain_begins_nothing_more_and_waits_for_what_is_under_way() -> None:
    async def run() -> Range:
        around = Range(Served(lambda now, number: 3.0))
        model = open_model(around, steady(60, 10))
        asyncio.get_running_loop().call_later(1.05, model.stop)
        await model.run()
        return around

    around = run_virtual(run())
    assert len(around.calls) == 11
    assert around.flights.under_way == 0


def test_a_drain_records_what_was_due_and_waited() -> None:
    async def run() -> Range:
        around = Range(Served(lambda now, number: 0.001 if now < 1_001 else 60.0, most=4))
        model = open_model(around, steady(60, 100))
        asyncio.get_running_loop().call_later(3.005, model.stop)
        await model.run()
        return around

    around = run_virtual(run())
    # 301 were due in 3.005 s; four of them were under way, and none had a connection after that.
    assert len(around.calls) == 301
    never = [call for call in around.calls if call.code == "NeverSent"]
    assert len(never) == pytest.approx(196, abs=2)
    # A third were answered; of the others, due in 2 s, the middle one of all waited for half a one.
    assert percentile_ms(around.calls, 50) == pytest.approx(500, abs=15)
    assert around.lateness.blocked_s == pytest.approx(1.96, abs=0.05)


def test_giving_up_leaves_answers_and_files_their_turns() -> None:
    around = attacked(Served(lambda now, number: 100.0, most=1), steady(1, 5_000), grace_s=0.5)
    assert len(around.calls) == 5_000
    # The virtual clock moves with every turn of the loop, and not while one goes on.
    turns = {call.done for call in around.calls if call.sent is None}
    assert len(turns) == math.ceil(4_999 / 200)


def test_retries_go_on_in_the_next_step() -> None:
    async def run() -> list[int]:
        failing = Served(lambda now, number: None)
        around = Range(failing, retry=RetryPolicy(max_attempts=3))
        stuck = open_model(around, steady(1, 5), grace_s=0.01)
        failing.most = 0
        await stuck.run()
        failing.most = 10
        around.flights.zero_s = asyncio.get_running_loop().time()
        await open_model(around, steady(1, 1)).run()
        return [call.attempts for call in around.calls]

    assert run_virtual(run()) == [1, 1, 1, 1, 1, 3]


def test_what_fails_is_tried_again_only_if_that_is_asked_for() -> None:
    def fails_twice(now: float, number: int) -> float | None:
        return None if number < 2 else 0.001

    async def run(attempts: int) -> Range:
        around = Range(Served(fails_twice), retry=RetryPolicy(max_attempts=attempts))
        await open_model(around, steady(1, 1)).run()
        return around

    (once,) = run_virtual(run(1)).calls
    assert (once.outcome, once.code, once.attempts) == ("network", "ConnectionReset", 1)
    (thrice,) = run_virtual(run(3)).calls
    assert (thrice.outcome, thrice.code, thrice.attempts) == ("ok", None, 3)
    # From when it was due; sent is that of the first attempt. Backoff: 50 and 100 ms.
    assert thrice.sent == pytest.approx(0.0, abs=ROUGHLY)
    assert thrice.done == pytest.approx(0.153, abs=0.001)
    (twice,) = run_virtual(run(2)).calls
    assert (twice.outcome, twice.attempts) == ("network", 2)


def test_a_drain_gives_up_what_waits_for_its_next_try() -> None:
    async def run() -> Range:
        policy = RetryPolicy(max_attempts=100, base_s=5.0)
        around = Range(Served(lambda now, number: None), retry=policy)
        model = open_model(around, steady(1, 5))
        asyncio.get_running_loop().call_later(1.5, model.stop)
        await model.run()
        return around

    around = run_virtual(run())
    assert [call.code for call in around.calls] == ["ConnectionReset"] * 5


def test_closed_keeps_so_many_calls_under_way_for_so_long() -> None:
    async def run() -> Range:
        around = Range(Served(lambda now, number: 0.01))
        # All times count from a moment that is still to come.
        around.flights.zero_s += 0.05
        model = ClosedModel(around.flights, around.contents, concurrency=8, duration_s=1.0)
        await model.run()
        assert model.begun == len(around.calls)
        return around

    around = run_virtual(run())
    assert around.served.peak == 8
    assert len(around.calls) == pytest.approx(800, abs=8)
    assert all(call.scheduled == call.sent for call in around.calls)
    assert min(call.scheduled for call in around.calls) >= 0
    assert not any(call.warmup for call in around.calls)


def test_calls_of_the_warm_up_are_marked() -> None:
    async def run() -> Range:
        around = Range(Served(), warmup_s=0.5)
        await open_model(around, steady(1, 10)).run()
        return around

    around = run_virtual(run())
    assert [call.warmup for call in around.calls] == [True] * 5 + [False] * 5


def test_a_generator_that_stands_still_is_late() -> None:
    async def run() -> Range:
        around = Range(Served())
        loop = asyncio.get_running_loop()

        def stand_still() -> None:
            loop._jumping.now_s += 0.5  # type: ignore[attr-defined]  # a loop of the tests

        loop.call_later(1.0, stand_still)
        await open_model(around, steady(3, 100)).run()
        return around

    around = run_virtual(run())
    assert len(around.calls) == 300
    # The calls that were due in that half second, one every 10 ms.
    assert around.lateness.calls.share_over(0.01) == pytest.approx(49 / 300, abs=2 / 300)
    assert around.lateness.calls.max_ms == pytest.approx(500, abs=12)
