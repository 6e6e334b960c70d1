"""Who makes the calls of a load test: this process, or several. What a load test asks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from batchkms.errors import RunStopped
from batchkms.loadtest.call import Call
from batchkms.loadtest.runrecord import ConnectionsRecord, GeneratorRecord
from batchkms.loadtest.schedule import Schedule


class Caller(Protocol):
    """Makes the calls of a run, and knows how well it did: one process, or several."""

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""

    @property
    def lag_now_s(self) -> float:
        """How late an event loop that makes calls is just now."""

    @property
    def blocked_s(self) -> float:
        """For how long calls were due that no connection could be had for."""

    def begin(
        self, zero_s: float, record: Callable[[Call], None], fail: Callable[[RunStopped], None]
    ) -> None:
        """The first call is due at this time of the monotonic clock.

        `record` is given every call that has ended, `fail` what ends the run early.
        """

    async def attack(self, schedule: Schedule | None) -> None:
        """Makes the calls of a schedule, or those of the closed model, until all have ended."""

    async def step(self, schedule: Schedule, *, offset_s: float) -> bool:
        """The same for a step that begins so long after the first call of the run.

        Returns whether it was able to do what was asked.
        """

    def stop(self) -> None:
        """Begins no more calls; those under way end."""

    def settled_s(self) -> float:
        """Every call that was due before this moment has ended and was recorded."""

    async def end(self) -> None:
        """No more calls will be made: the figures below are final."""

    def connections(self) -> ConnectionsRecord:
        """The connections that were made."""

    def generator(self) -> GeneratorRecord:
        """How it did."""

    def faults(self, *, closed: bool) -> list[str]:
        """Why the figures are not the server's, in sentences; empty if they are."""

    def notes(self) -> list[str]:
        """What is worth knowing, though the figures are the server's."""
