"""An emulator in a process of its own, so that a test's event loop takes no part in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.ended import environment


@dataclass(frozen=True)
class Service:
    """A running emulator: how it is reached."""

    endpoint: str
    key_id: str
    secret_id: str
    secret_key: str

    @property
    def target(self) -> list[str]:
        """The options that name it and its demo key."""
        return ["--endpoint", self.endpoint, "--key-id", self.key_id]

    @property
    def credentials(self) -> dict[str, str]:
        """Its credentials as environment variables."""
        return {
            "TENCENTCLOUD_SECRET_ID": self.secret_id,
            "TENCENTCLOUD_SECRET_KEY": self.secret_key,
        }


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """Runs one without a rate limit, with its keys in this folder."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "batchkms", "emulator", "--port", "0"),
            *("--rate-limit", "none", "--data-dir", str(folder / "kms")),
        ],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        del told["region"]
        yield Service(**told)
    finally:
        process.terminate()
        process.communicate(timeout=20)
