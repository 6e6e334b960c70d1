"""How a process ended, and what every ending has in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Waits for what another process brings about; AssertionError if it does not come."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
