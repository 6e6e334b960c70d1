"""An emulator on a clock that tests own, and a caller of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.emulator.calling import Caller, Clock, calling


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def caller(tmp_path: Path, clock: Clock) -> AsyncIterator[Caller]:
    """A caller of an emulator without a quota."""
    emulator = Emulator(data_dir=tmp_path / "data", rate_limit=None, clock=clock, ticks=clock)
    async with emulator, calling(emulator, clock) as caller:
        yield caller
