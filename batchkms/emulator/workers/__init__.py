"""Several processes that are one emulator: one port, one store, one quota, one list of faults."""

from __future__ import annotations

from batchkms.emulator.workers.board import MAX_LIMIT
from batchkms.emulator.workers.parent import run_workers
from batchkms.emulator.workers.team import Team

__all__ = ["MAX_LIMIT", "Team", "run_workers"]
