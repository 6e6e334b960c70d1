"""Processes that make calls of a test: told and heard over their sockets, against an emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from batchkms.emulator import Emulator
from batchkms.errors import ConfigError, RunStopped
from batchkms.kms.credentials import Credentials
from batchkms.latency import Latencies
from batchkms.loadtest import team as team_module
from batchkms.loadtest import teamwire as wire
from batchkms.loadtest.call import Call
from batchkms.loadtest.rows import Row
from batchkms.loadtest.schedule import Schedule, Stage
from batchkms.loadtest.team import Team, running_team
from batchkms.records import Record
from batchkms.retry import RetryPolicy
from tests.loadtest.calls import call


@pytest.fixture
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    async with Emulator(data_dir=tmp_path_factory.mktemp("kms"), rate_limit=None) as emulator:
        yield emulator


def orders(kms: Emulator, of: int, **more: Any) -> list[wire.Orders]:
    values: dict[str, Any] = {
        "scheme": "http",
        "host": kms.endpoint.removeprefix("http://"),
        "region": kms.region,
        "ca_file": None,
        "connect_timeout_s": 3.0,
        "timeout_s": 10.0,
        "max_connections": 100,
        "closed": False,
        "concurrency": 5,
        "duration_s": 0.3,
        "warmup_s": 0.0,
        "lag_limit_s": 5.0,
        "grace_s": 10.0,
        "retry": RetryPolicy(max_attempts=1),
        "mix": {"encrypt": 1},
        "payload_size": "64",
        "rows": None,
        "signature": "tc3",
        "key_id": kms.demo_key_id,
        "seed": 5,
        "credentials": Credentials(kms.secret_id, kms.secret_key),
        "log_level": "error",
        "log_format": "text",
        **more,
    }
    return [wire.Orders(first=first, of=of, **values) for first in range(of)]


def begun(team: Team) -> tuple[list[Call], list[RunStopped]]:
    """The calls that come from a team from now on, and what ended it."""
    calls: list[Call] = []
    errors: list[RunStopped] = []
    team.begin(time.monotonic() + 0.05, calls.append, errors.append)
    return calls, errors


async def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():  # noqa: ASYNC110 - it is another process that brings it about
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


async def test_steps_follow_each_other_over_the_same_connections(kms: Emulator) -> None:
    async with running_team(orders(kms, 2)) as team:
        calls, errors = begun(team)
        began_s = time.monotonic()
        for number, rate in enumerate((50.0, 100.0)):
            offset_s = time.monotonic() - began_s + 0.05
            assert await team.step(Schedule([Stage(0.3, rate, rate)]), offset_s=offset_s)
            of_step = sorted(each.scheduled for each in calls)[15 * number :]
            assert of_step == pytest.approx(
                [offset_s + n / rate for n in range(int(0.3 * rate))], abs=1e-6
            )
        await team.end()
        assert (team.faults(closed=False), errors) == ([], [])
        record = team.connections()
        assert 2 <= record.opened == record.most <= 20
        assert team.generator().processes == 2
        assert len(calls) == 45
        assert {each.outcome for each in calls} == {"ok"}


async def test_new_credentials_sign_the_calls_from_then_on(kms: Emulator) -> None:
    wrong = Credentials(kms.secret_id, "wrong")
    async with running_team(orders(kms, 2, credentials=wrong, concurrency=2)) as team:
        calls, _ = begun(team)
        task = asyncio.create_task(team.attack(Schedule([Stage(60.0, 50.0, 50.0)])))
        await until(lambda: len(calls) > 2)
        assert {each.outcome for each in calls} == {"unauthorized"}
        team.renew(Credentials(kms.secret_id, kms.secret_key))
        await until(lambda: any(each.outcome == "ok" for each in calls))
        team.stop()
        await task
        assert calls[-1].outcome == "ok"


@pytest.mark.parametrize("of", ["a schedule", "the closed model", "a step"])
@pytest.mark.parametrize("when", ["before", "behind"])
async def test_a_stop_in_the_turn_of_an_attack_is_not_lost(
    kms: Emulator, of: str, when: str
) -> None:
    """Both are read at once, so that the stop comes before the first call could be begun."""
    closed = of == "the closed model"
    hour = Schedule([Stage(3_600.0, 50.0, 50.0)])
    async with running_team(orders(kms, 2, closed=closed, duration_s=3_600.0)) as team:
        calls, errors = begun(team)
        for pid in team.pids:
            os.kill(pid, signal.SIGSTOP)
        if when == "before":
            team.stop()
        task = asyncio.create_task(
            team.step(hour, offset_s=0.0) if of == "a step" else _attack(team, closed, hour)
        )
        # So far that it waits for what its processes say.
        await asyncio.sleep(0)
        if when == "behind":
            team.stop()
        for pid in team.pids:
            os.kill(pid, signal.SIGCONT)
        await _in_time(task)
        await _in_time(team.end())
        assert (errors, calls) == ([], [])
        assert team.faults(closed=closed) == []
        assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == 0


async def _attack(team: Team, closed: bool, schedule: Schedule) -> bool:
    await team.attack(None if closed else schedule)
    return True


async def test_calls_tried_again_are_so_in_their_process(tmp_path: Any) -> None:
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=5) as kms:
        retry = RetryPolicy(max_attempts=20, base_s=0.2, deadline_s=20.0)
        async with running_team(orders(kms, 2, retry=retry)) as team:
            calls, _ = begun(team)
            await team.attack(Schedule([Stage(0.3, 40.0, 40.0)]))
    assert len(calls) == 12
    assert {each.outcome for each in calls} == {"ok"}
    assert max(each.attempts for each in calls) > 1


async def test_what_has_not_ended_is_not_settled(kms: Emulator) -> None:
    async with running_team(orders(kms, 2)) as team:
        assert team.settled_s() == 0.0
        calls, _ = begun(team)
        settled: list[tuple[float, int]] = []

        async def watch() -> None:
            while True:
                settled.append((team.settled_s(), len(calls)))
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        await team.attack(Schedule([Stage(0.5, 100.0, 100.0)]))
        watching.cancel()
    scheduled = [each.scheduled for each in calls]
    for moment_s, seen in settled:
        assert all(due_s >= moment_s for due_s in scheduled[seen:])
    assert settled[-1][0] > 0.3


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_one_that_dies_is_named_and_stops_the_others(kms: Emulator, when: str) -> None:
    async with running_team(orders(kms, 3)) as team:
        if when == "before":
            os.kill(team.pids[1], signal.SIGKILL)
            await until(lambda: bool(team.faults(closed=False)))
        calls: list[Call] = []
        errors: list[RunStopped] = []

        def fail(error: RunStopped) -> None:
            errors.append(error)
            team.stop()

        team.begin(time.monotonic() + 0.05, calls.append, fail)
        if when == "meanwhile":
            task = asyncio.create_task(team.attack(Schedule([Stage(60.0, 100.0, 100.0)])))
            await until(lambda: len(calls) > 5)
            os.kill(team.pids[1], signal.SIGKILL)
            await _in_time(task)
        await _in_time(team.end())
        assert "process 2 of 3 was killed by SIGKILL" in errors[0].message
        assert team.faults(closed=False) == [str(errors[0].message)]


async def test_one_that_hangs_is_not_waited_for_once_the_test_was_stopped(
    kms: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Forty times as long as a process that runs is silent.
    monkeypatch.setattr(team_module, "SILENT_FOR_S", 2.0)
    async with running_team(orders(kms, 2)) as team:
        calls, errors = begun(team)
        task = asyncio.create_task(team.attack(Schedule([Stage(60.0, 100.0, 100.0)])))
        await until(lambda: len(calls) > 5)
        os.kill(team.pids[1], signal.SIGSTOP)
        team.stop()
        await _in_time(task)
        await _in_time(team.end())
        assert "process 2 of 2 was killed by SIGKILL" in errors[0].message
        assert team.generator().processes == 2
        # The other one has reported.
        assert team.connections().opened > 0


async def test_what_a_process_refuses_is_raised_before_any_call(kms: Emulator) -> None:
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        async with running_team(orders(kms, 2, ca_file="gone.pem", scheme="https")):
            pass
    assert not kms.stats.actions["Encrypt"].ok


async def test_an_answer_that_comes_to_two_processes_is_no_good_one() -> None:
    team = Team(2, late_after_s=0.01)
    calls: list[Call] = []
    team._record = calls.append
    for member, ids in zip(team._members, (["a", "b"], ["c", "a"]), strict=True):
        made = [call(0.1, request_id=each) for each in ids]
        team._heard(member, wire.encode(wire.Calls(made, 0.0, 0, 0, 0.0)))
    assert [each.outcome for each in calls] == ["ok", "ok", "ok", "protocol"]
    assert (calls[-1].code, calls[-1].request_id) == ("RepeatedRequestId", None)


def test_rows_and_latencies_are_the_same_in_another_process() -> None:
    row = Row(Record(seq=1, id="1", plaintext=b"1234-5678", encryption_context='{"a":"b"}'))
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(row.packed()))
    again = Row.unpacked(packed)
    assert again.packed() == row.packed()
    assert again.answered == row.answered
    latencies = Latencies()
    for seconds in (0.0, 0.001, 0.0015, 7.5, 9_999.0):
        latencies.count(seconds)
    copy = wire.PackedLatencies.of(latencies).unpacked()
    assert list(copy.buckets()) == list(latencies.buckets())
    assert (copy.total, copy.sum_us, copy.max_us) == (5, latencies.sum_us, latencies.max_us)
    assert copy.percentiles_ms([50, 99]) == latencies.percentiles_ms([50, 99])


def test_nothing_secret_is_in_what_may_be_printed() -> None:
    made = wire.Renewed(Credentials("id-of-the-key", "the-secret-key"))
    assert "the-secret-key" not in repr(made)


async def _in_time(work: Awaitable[Any]) -> None:
    async with asyncio.timeout(20):
        await work
