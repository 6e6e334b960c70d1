"""A process that is killed in the middle loses no key that it had answered for."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import orjson
import pytest

from batchkms.emulator import Emulator
from batchkms.emulator.store import Store
from tests.emulator.calling import Caller, Clock

STARTED = "import sys; from tests.emulator.test_crash import serve; serve(sys.argv[1])"


def serve(data_dir: str) -> None:
    """An emulator with room for many keys, until it is killed."""

    async def run() -> None:
        async with Emulator(data_dir=data_dir, rate_limit=None, key_limit=100_000) as emulator:
            told = {
                "endpoint": emulator.endpoint,
                "secret_id": emulator.secret_id,
                "secret_key": emulator.secret_key,
            }
            print(orjson.dumps(told).decode(), flush=True)
            await asyncio.Event().wait()

    asyncio.run(run())


def started(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTED, str(data_dir)], stdout=subprocess.PIPE, text=True
    )


async def answered_before_the_kill(data_dir: Path, *, calls: int, kill_after: int) -> set[str]:
    """The ids that were answered by a process killed during so many CreateKey calls."""
    process = started(data_dir)
    answered: set[str] = set()
    try:
        assert process.stdout is not None
        told = orjson.loads(process.stdout.readline())
        remote = Emulator(data_dir=data_dir)
        remote.endpoint = told["endpoint"]
        remote.secret_id, remote.secret_key = told["secret_id"], told["secret_key"]
        numbers = iter(range(calls))
        async with aiohttp.ClientSession() as session:
            caller = Caller(remote, Clock(time.time()), session)

            async def create() -> None:
                for number in numbers:
                    try:
                        made = await caller.call("CreateKey", {"Alias": f"key-{number}"})
                    except aiohttp.ClientError:
                        return
                    answered.add(made["KeyId"])
                    if len(answered) == kill_after:
                        process.kill()

            await asyncio.gather(*(create() for _ in range(8)))
        assert process.wait(20) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    return answered


def kept(data_dir: Path) -> set[str]:
    """The ids of the keys on disk, all of which must have their material."""
    store = Store(data_dir)
    try:
        keys = store.snapshot("ap-guangzhou").keys
    finally:
        store.close()
    assert all(len(key.versions[0]) == 32 for key in keys)
    return {key.key_id for key in keys}


async def test_kill_9_loses_no_answered_key(tmp_path: Path) -> None:
    for kill_after in (1, 17, 60):
        data_dir = tmp_path / str(kill_after)
        answered = await answered_before_the_kill(data_dir, calls=200, kill_after=kill_after)
        assert kill_after <= len(answered) < 200
        assert answered <= kept(data_dir)


@pytest.mark.long
async def test_kill_9_at_any_moment_of_1000_calls_loses_no_answered_key(tmp_path: Path) -> None:
    for round_number in range(12):
        data_dir = tmp_path / str(round_number)
        kill_after = 1 + 82 * round_number
        answered = await answered_before_the_kill(data_dir, calls=1_000, kill_after=kill_after)
        assert kill_after <= len(answered) < 1_000
        assert answered <= kept(data_dir)


async def test_a_store_whose_process_was_killed_goes_on(tmp_path: Path) -> None:
    answered = await answered_before_the_kill(tmp_path, calls=50, kill_after=10)
    async with Emulator(data_dir=tmp_path, key_limit=1_000) as emulator:
        assert emulator.demo_key_id in kept(tmp_path)
        assert answered <= kept(tmp_path)
