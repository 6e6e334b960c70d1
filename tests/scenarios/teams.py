"""Runs in several processes that are under way, and their members."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, larger, target, until


class Running:
    """A run in several processes, in the middle of its work."""

    def __init__(
        self,
        batchkms: Program,
        kms: Emulator,
        *options: str,
        rate: str | None = "500",
        processes: int = 2,
        program: str | None = None,
    ) -> None:
        """`program` is Python code that takes the place of `-m batchkms`."""
        self._batchkms = batchkms
        self.command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--resume"]
        self._environ = batchkms.environ(credentials(kms))
        paced = ["--rate", rate] if rate else []
        arguments = [*self.command, *paced, "--processes", str(processes), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments]
            if program
            else batchkms.command(*arguments),
            cwd=batchkms.folder,
            env=self._environ,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """None of its processes is left behind, stopped ones neither."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    async def working(self, *, after_bytes: int = 20_000) -> list[int]:
        """Waits until results are written; the members' process ids."""
        partial = self._batchkms.folder / "out.jsonl.partial"
        enough = larger(partial, after_bytes)
        await asyncio.to_thread(until, enough, process=self.process)
        return members_of(self.process.pid)

    async def ended(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        _, told = await asyncio.to_thread(self.process.communicate, timeout=30)
        return self.process.returncode, told.decode()


def members_of(pid: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(status[1]) == pid:
            found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
