"""A service that fails every second call until it is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from batchkms.emulator import Emulator


@dataclass
class Flaky:
    """The service, and whether it fails now."""

    kms: Emulator
    failing: bool = True

    @property
    def calls(self) -> int:
        """How often Encrypt was called so far."""
        calls: int = self.kms.stats.as_json()["actions"]["Encrypt"]["calls"]
        return calls


@asynccontextmanager
async def flaky_service(data_dir: Path) -> AsyncIterator[Flaky]:
    """Runs it in the test's own event loop, without a rate limit."""
    calls = count()
    emulator = Emulator(
        data_dir=data_dir,
        rate_limit=None,
        fail=lambda action: "InternalError" if service.failing and next(calls) % 2 else None,
    )
    service = Flaky(emulator)
    async with emulator:
        yield service
