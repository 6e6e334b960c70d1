"""Results on their way out, written in groups by a thread of their own.

So neither a slow disk nor a reader that does not read ever holds up the calls in flight.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Protocol

from batchkms.errors import OutputError
from batchkms.serialthread import SerialThread

WRITE_EVERY_S = 0.1
"""Results of so long are written together: a write for each row would cost more than the row."""

_GROUP_BYTES = 512 * 1024
_HIGH_WATER_BYTES = 2 * 1024 * 1024


class Target(Protocol):
    """What groups of results are written to. Its methods run in the writing thread."""

    def append(self, data: bytes, sums: bytes) -> None:
        """Adds whole rows at the end, with their records of `rowsums`.

        Raises OutputError, and then none of them is there.
        """

    def sync(self) -> None:
        """Makes what was appended durable. Raises OutputError."""


class GroupWriter:
    """Writes what it is given in groups, in order, and syncs once an interval (seconds).

    Needs a running event loop. What was given is written as soon as the target takes it, at
    the latest by `aclose`.
    """

    def __init__(self, target: Target, *, fsync_interval_s: float) -> None:
        self._target = target
        self._fsync_interval_s = fsync_interval_s
        self._thread = SerialThread("batchkms-output")
        self._waiting: list[bytes] = []
        self._waiting_sums: list[bytes] = []
        self._waiting_bytes = 0
        self._unsynced_since: float | None = None
        self._closing = False
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._room = asyncio.Event()
        self._error: OutputError | None = None
        self._task = asyncio.create_task(self._keep_writing(), name="batchkms-output")

    async def write(self, data: bytes, sums: bytes = b"") -> None:
        """Takes whole rows; waits only while more than two megabytes are still to be written.

        Raises OutputError when an earlier group could not be written.
        """
        self._waiting.append(data)
        self._waiting_sums.append(sums)
        self._waiting_bytes += len(data)
        self._arrived.set()
        if self._waiting_bytes > _GROUP_BYTES:
            self._hurry.set()
        while self._waiting_bytes > _HIGH_WATER_BYTES and self._error is None:
            self._room.clear()
            await self._room.wait()
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Writes and syncs what is still waiting, and ends. Raises OutputError."""
        self._closing = True
        self._arrived.set()
        self._hurry.set()
        try:
            await self._task
        finally:
            self._thread.close()
        if self._error is not None:
            raise self._error

    async def _keep_writing(self) -> None:
        try:
            while not self._closing or self._waiting:
                await self._group_ready()
                await self._write_group()
                await self._sync_if_due()
        except OutputError as error:
            # Told to whoever writes next; nobody may wait for room that never comes.
            self._error = error
            self._room.set()

    async def _group_ready(self) -> None:
        """Waits until there is something to write or to sync."""
        due = self._unsynced_since and self._unsynced_since + self._fsync_interval_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._arrived.wait()
            async with asyncio.timeout(WRITE_EVERY_S):
                await self._hurry.wait()

    async def _write_group(self) -> None:
        group, self._waiting = b"".join(self._waiting), []
        sums, self._waiting_sums = b"".join(self._waiting_sums), []
        self._waiting_bytes = 0
        if not self._closing:
            self._arrived.clear()
            self._hurry.clear()
        self._room.set()
        if group:
            await self._thread.run(partial(self._target.append, group, sums))
            self._unsynced_since = self._unsynced_since or asyncio.get_running_loop().time()

    async def _sync_if_due(self) -> None:
        if self._unsynced_since is None:
            return
        waited_s = asyncio.get_running_loop().time() - self._unsynced_since
        if self._closing or waited_s >= self._fsync_interval_s:
            await self._thread.run(self._target.sync)
            self._unsynced_since = None
