"""The emulator of a load test is seen to die, and dies in silence when nobody reads it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from batchkms.cli.emulatorchild import emulator_child


async def test_a_child_that_dies_is_seen(tmp_path: Path) -> None:
    async with emulator_child(data_dir=str(tmp_path / "a"), region="ap-guangzhou") as child:
        assert child.ready["endpoint"].startswith("http://127.0.0.1:")
        assert not child.ended.done()
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            assert await child.ended == -signal.SIGKILL


async def test_a_child_that_serves_to_the_end_ends_well(tmp_path: Path) -> None:
    async with emulator_child(data_dir=str(tmp_path / "a"), region="ap-guangzhou") as child:
        pass
    assert child.ended.result() == 0


def test_a_parent_that_has_gone_while_it_starts(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "batchkms.cli.emulatorchild", "ap-guangzhou", str(tmp_path / "a")],
        input=b"",
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
