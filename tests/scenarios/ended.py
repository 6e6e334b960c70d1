"""How a process ended, and what every ending has in common."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from batchkms.emulator import Emulator


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The error lines, each without its prefix."""
        return _after("batchkms: error: ", self.stderr)

    @property
    def hints(self) -> list[str]:
        """The hint lines, each without its prefix."""
        return _after("batchkms: hint: ", self.stderr)


def _after(prefix: str, text: str) -> list[str]:
    return [line[len(prefix) :] for line in text.splitlines() if line.startswith(prefix)]


def environment(home: Path) -> dict[str, str]:
    """What a process needs to start, and no credentials, proxies or options of the caller."""
    kept = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
    }


def credentials(emulator: Emulator) -> dict[str, str]:
    """The emulator's credentials as environment variables."""
    return {
        "TENCENTCLOUD_SECRET_ID": emulator.secret_id,
        "TENCENTCLOUD_SECRET_KEY": emulator.secret_key,
    }


def target(emulator: Emulator) -> list[str]:
    """The options that name an emulator and its demo key."""
    return ["--endpoint", emulator.endpoint, "--key-id", emulator.demo_key_id]


def until(
    condition: Callable[[], bool],
    *,
    within_s: float = 20.0,
    process: subprocess.Popen[Any] | None = None,
) -> None:
    """Waits for what another process brings about; AssertionError if it does not come.

    If it is this process, as soon as that has ended without it.
    """
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"this did not come within {within_s} s"
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(ended_too_early(process.returncode, process.stderr))
        time.sleep(0.02)  # Nothing tells of what another process has written.


async def until_it(
    process: asyncio.subprocess.Process,
    condition: Callable[[], bool],
    *,
    stderr: IO[bytes] | None = None,
) -> None:
    """The same of a process of asyncio's, whose stderr is a pipe, this file, or nowhere."""
    await asyncio.to_thread(until, lambda: process.returncode is not None or condition())
    if condition():
        return
    if process.stderr is not None:
        stderr = io.BytesIO(await process.stderr.read())
    raise AssertionError(ended_too_early(process.returncode, stderr))


def ended_too_early(code: int | None, stderr: IO[Any] | None) -> str:
    """What became of a process that was to be there still, and what it said."""
    if stderr is not None and stderr.seekable():
        stderr.seek(0)
    said = "" if stderr is None else stderr.read()
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return f"the process has ended too early, with exit code {code}; it said:\n{text}"


def larger(path: Path, size: int) -> Callable[[], bool]:
    """Whether a file is there and has more bytes than this; it may be renamed meanwhile."""

    def is_larger() -> bool:
        try:
            return path.stat().st_size > size
        except FileNotFoundError:
            return False

    return is_larger
