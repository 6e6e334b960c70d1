"""Several workers: one quota, one list of faults, one store, one end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import orjson
import pytest

from batchkms.emulator import Emulator
from batchkms.emulator.quota import FixedWindow, SlidingWindow
from batchkms.emulator.workers.board import (
    MAX_LIMIT,
    Board,
    SharedFixedWindow,
    SharedLedger,
    SharedSlidingWindow,
)
from tests.emulator.calling import Caller, Clock, b64
from tests.emulator.test_cli import refused, running

NAME = ("account", "region", "group")


@contextmanager
def team(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Three workers, and what their ready line says."""
    arguments = ("--data-dir", str(tmp_path / "data"), "--workers", "3", *options)
    with running(*arguments) as (process, line):
        yield process, orjson.loads(line)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


@asynccontextmanager
async def callers(ready: dict[str, str], count: int) -> AsyncIterator[list[Caller]]:
    """Callers with connections of their own, so that every worker gets some of them."""
    emulator = SimpleNamespace(**ready, demo_key_id=ready["key_id"])
    sessions = [aiohttp.ClientSession() for _ in range(count)]
    try:
        yield [
            Caller(cast(Emulator, emulator), Clock(float(int(time.time()))), session)
            for session in sessions
        ]
    finally:
        for session in sessions:
            await session.close()


def named(caller: Caller) -> dict[str, str]:
    return {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret")}


async def encrypts(many: list[Caller], each: int) -> list[str]:
    """The codes of so many Encrypts by each caller, all callers at the same time."""

    async def one(caller: Caller) -> list[str]:
        return [await caller.code("Encrypt", named(caller)) for _ in range(each)]

    return [code for codes in await asyncio.gather(*map(one, many)) for code in codes]


async def control(ready: dict[str, str], method: str, page: str, **sent: Any) -> dict[str, Any]:
    url = f"{ready['endpoint']}/_emulator/{page}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **sent) as answer,
    ):
        assert answer.status == 200
        return dict(await answer.json())


async def test_the_quota_is_held_by_all_together_and_figures_are_summed(tmp_path: Path) -> None:
    with team(tmp_path, "--rate-limit", "40") as (_, ready):
        async with callers(ready, 24) as many:
            began_s = time.monotonic()
            codes = await encrypts(many, 10)
            took_s = time.monotonic() - began_s
        stats = (await control(ready, "GET", "stats"))["actions"]["Encrypt"]
        journal = (await control(ready, "GET", "requests"))["requests"]
        await control(ready, "POST", "reset")
        after = (await control(ready, "GET", "stats"))["actions"]["Encrypt"]
    assert 40 <= codes.count("ok") <= 40 * (1 + took_s)
    assert codes.count("ok") + codes.count("RequestLimitExceeded") == 240
    assert (stats["calls"], stats["ok"]) == (240, codes.count("ok"))
    assert len({call["request_id"] for call in journal}) == 240
    assert after["calls"] == 0


async def test_faults_and_states_of_keys_are_the_same_everywhere(tmp_path: Path) -> None:
    with team(tmp_path, "--rate-limit", "none") as (_, ready):
        async with callers(ready, 16) as many:
            rule = {"action": "Encrypt", "code": "InternalError", "calls": "5-7"}
            await control(ready, "POST", "faults", json=rule)
            codes = await encrypts(many, 2)
            assert codes.count("InternalError") == 3
            shown = (await control(ready, "GET", "faults"))["faults"]
            assert shown == [{**rule, "seen": 32, "hits": 3}]
            await control(ready, "DELETE", "faults")
            assert await many[0].code("DisableKey", {"KeyId": ready["key_id"]}) == "ok"
            assert set(await encrypts(many, 1)) == {"ResourceUnavailable.CmkDisabled"}


async def test_a_quota_that_changes_reaches_every_worker(tmp_path: Path) -> None:
    with team(tmp_path, "--rate-limit", "none") as (_, ready):
        async with callers(ready, 16) as many:
            await control(ready, "POST", "faults", json={"quota": 1, "times": 1})
            await encrypts(many[:1], 1)
            # Without a limit, sixteen workers' callers would all succeed.
            give_up_s = time.monotonic() + 5
            while (await encrypts(many, 1)).count("ok") > 1:
                assert time.monotonic() < give_up_s


async def test_all_workers_refuse_connections_together(tmp_path: Path) -> None:
    with team(tmp_path, "--rate-limit", "none") as (_, ready):
        rule = {"action": "ListKeys", "effect": "refuse", "for": "1s", "times": 1}
        await control(ready, "POST", "faults", json=rule)
        async with callers(ready, 12) as many:
            with pytest.raises(aiohttp.ClientError):
                await many[0].code("ListKeys")
            await asyncio.sleep(0.1)
            for caller in many:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await caller.code("ListKeys")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One that has ended and was not waited for is as good as gone.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def until_gone(pids: list[int]) -> None:
    give_up_s = time.monotonic() + 10
    while not all(map(gone, pids)):
        assert time.monotonic() < give_up_s
        time.sleep(0.02)  # No child of this process: nothing tells when it is gone.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(tmp_path: Path, number: signal.Signals) -> None:
    with team(tmp_path) as (process, _):
        pids = workers_of(process)
        assert len(pids) == 3
        process.send_signal(number)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 0
        assert stderr.splitlines()[-1] == "batchkms: emulator stopped"
        until_gone(pids)


def test_a_worker_that_ends_by_itself_ends_all(tmp_path: Path) -> None:
    with team(tmp_path) as (process, _):
        pids = workers_of(process)
        os.kill(pids[1], signal.SIGKILL)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 3
        assert "worker 1 of the emulator has ended by itself (signal 9)" in stderr
        until_gone(pids)


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    with team(tmp_path) as (process, _):
        pids = workers_of(process)
        process.kill()
        until_gone(pids)


def test_what_a_worker_cannot_start_with_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no directory")
    options = ("--data-dir", str(tmp_path / "data"), "--workers", "2")
    code, stderr = refused(*options)
    assert code == 2
    assert stderr[0].startswith("batchkms: error: the data directory")
    with running("--data-dir", str(tmp_path / "other")) as (_, line):
        port = orjson.loads(line)["endpoint"].rpartition(":")[2]
        code, stderr = refused(*options, "--port", port)
    assert (code, "is in use by another program" in stderr[0]) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--seed", "1"), "--seed and --workers exclude each other"),
        (("--rate-limit", "32769"), "--workers hold a --rate-limit of up to 32,768 together"),
        (("--workers", "0"), "0 is not in the range"),
    ],
)
def test_refused_combinations(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    code, stderr = refused("--data-dir", str(tmp_path), "--workers", "2", *options)
    assert (code, told in stderr[0]) == (2, True)


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board()) as board:
        yield board


def test_a_shared_window_decides_as_one_of_a_single_process(board: Board) -> None:
    for limit in (1, 3, 7):
        name = ("account", "region", str(limit))
        shared, alone = SharedSlidingWindow(board, name, limit), SlidingWindow(limit)
        for step in range(200):
            # Steps of 1/16 and 5/16 of a second, so that limits are met and are not.
            now_s = 1000 + step / 8 + step % 3 / 16
            assert (shared.refusal(now_s) == 0) is (alone.refusal(now_s) == 0)
            shared.limit = alone.limit = limit + step // 50 % 2


def test_a_shared_fixed_window_says_the_same_as_one_of_a_single_process(board: Board) -> None:
    shared, alone = SharedFixedWindow(board, NAME, 3), FixedWindow(3)
    for now_s in (5.0, 5.1, 5.2, 5.3, 5.9, 6.0, 6.5, 6.5, 6.5, 8.0):
        assert shared.refusal(now_s) == alone.refusal(now_s)


def test_processes_share_a_window_exactly(board: Board) -> None:
    """Two forked processes and this one take what there is, and not one call more."""
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            window = SharedSlidingWindow(board, NAME, 3000)
            os._exit(0 if all(window.refusal(50.0) >= 0 for _ in range(2000)) else 1)
        children.append(pid)
    window = SharedSlidingWindow(board, NAME, 3000)
    for _ in range(500):
        window.refusal(50.0)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    # 4,500 calls were made: 3,000 were let through, and the others are counted as refused.
    assert window.refusal(50.0) == 3000 + 1500 + 1
    assert window.refusal(51.0) == 0


def test_the_largest_limit_fits_and_a_window_can_be_emptied(board: Board) -> None:
    window = SharedSlidingWindow(board, NAME, MAX_LIMIT + 5)
    assert [window.refusal(1.0) for _ in range(MAX_LIMIT + 1)] == [0] * MAX_LIMIT + [MAX_LIMIT + 1]
    board.forget_calls()
    assert window.refusal(1.0) == 0


def test_rules_that_are_too_long_for_the_shared_memory_are_refused(board: Board) -> None:
    ledger = SharedLedger(board)
    assert ledger.text == b"[]"
    ledger.write(b"[1]")
    assert (ledger.text, ledger.version) == (b"[1]", 1)
    with pytest.raises(ValueError, match="262,144"):
        ledger.write(b"x" * 262_145)
