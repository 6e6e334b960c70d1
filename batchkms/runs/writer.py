"""Results on their way out, written in groups by a thread of their own.

So neither a slow disk nor a reader that does not read ever holds up the calls in flight. What was
written is brought to the disk by another thread, so that writing goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

from batchkms.serialthread import SerialThread

WRITE_EVERY_S = 0.1
"""Results of so long are written together: a write for each row would cost more than the row."""

_GROUP_BYTES, _OTHERS_GROUP_BYTES = 512 * 1024, 1024 * 1024
"""Results in bytes are joined first, and are to fit a core's cache; those in memory that is shared
with another process are written as they are."""

_HIGH_WATER_BYTES = 2 * 1024 * 1024

Bytes = bytes | memoryview


class Target(Protocol):
    """What results are written to, in threads: `append` in one, `sync` in one beside it."""

    def append(self, data: Bytes, sums: bytes) -> None:
        """Adds whole rows at the end, with their records of `rowsums`.

        Raises OutputError, and then none of them is there.
        """

    def sync(self) -> None:
        """Makes what was appended durable. Raises OutputError."""


class _Given(NamedTuple):
    """Rows to write; `let_go` is called when their bytes are not needed any more."""

    data: Bytes
    sums: bytes
    let_go: Callable[[], None] | None


class GroupWriter:
    """Writes what it is given in groups, in order, and syncs once an interval (seconds).

    Needs a running event loop. What was given is written as soon as the target takes it, at
    the latest by `aclose`. A sync that takes longer than an interval holds up writing, so that
    never more than two intervals' worth is not durable.
    """

    def __init__(self, target: Target, *, fsync_interval_s: float) -> None:
        self._target = target
        self._fsync_interval_s = fsync_interval_s
        self._thread = SerialThread("batchkms-output")
        self._sync_thread = SerialThread("batchkms-sync")
        self._waiting: list[_Given] = []
        self._waiting_bytes = 0
        self._unsynced_since: float | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._closing = False
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._room = asyncio.Event()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._keep_writing(), name="batchkms-output")

    async def write(
        self, data: Bytes, sums: bytes = b"", let_go: Callable[[], None] | None = None
    ) -> None:
        """Takes whole rows; waits only while more than two megabytes are still to be written.

        `let_go` is called when their bytes were written. Raises OutputError when an earlier group
        could not be written.
        """
        self._waiting.append(_Given(data, sums, let_go))
        self._waiting_bytes += len(data)
        self._arrived.set()
        most = _GROUP_BYTES if isinstance(data, bytes) else _OTHERS_GROUP_BYTES
        if self._waiting_bytes > most:
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
            self._sync_thread.close()
        if self._error is not None:
            raise self._error

    async def _keep_writing(self) -> None:
        try:
            while not self._closing or self._waiting:
                await self._group_ready()
                await self._write_group()
                await self._sync_if_due()
            await self._sync_ended()
            if self._unsynced_since is not None:
                await self._sync_thread.run(self._target.sync)
        except Exception as error:
            # A defect too. Told to whoever writes next; nobody may wait for room that never comes.
            self._error = error
            self._room.set()
            with suppress(Exception):
                # The file may be closed, and its number another file's, once this has ended.
                await self._sync_ended()

    async def _group_ready(self) -> None:
        """Waits until there is something to write or to sync."""
        due = self._unsynced_since and self._unsynced_since + self._fsync_interval_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._arrived.wait()
            async with asyncio.timeout(WRITE_EVERY_S):
                await self._hurry.wait()

    async def _write_group(self) -> None:
        group, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        if not self._closing:
            self._arrived.clear()
            self._hurry.clear()
        self._room.set()
        if group:
            await self._thread.run(partial(self._append, group))
            self._unsynced_since = self._unsynced_since or asyncio.get_running_loop().time()
            for given in group:
                if given.let_go is not None:
                    given.let_go()

    def _append(self, group: Sequence[_Given]) -> None:
        for data, sums in _pieces(group):
            self._target.append(data, sums)

    async def _sync_if_due(self) -> None:
        if self._syncing is not None and self._syncing.done():
            await self._sync_ended()
        if self._unsynced_since is None:
            return
        waited_s = asyncio.get_running_loop().time() - self._unsynced_since
        if waited_s >= self._fsync_interval_s:
            await self._sync_ended()
            self._unsynced_since = None
            self._syncing = self._sync_thread.run(self._target.sync)
            self._syncing.add_done_callback(self._synced)

    async def _sync_ended(self) -> None:
        """Waits for the sync that is under way. Raises OutputError if it has failed."""
        if self._syncing is not None:
            syncing, self._syncing = self._syncing, None
            await syncing

    def _synced(self, syncing: asyncio.Future[None]) -> None:
        if not syncing.cancelled() and syncing.exception() is not None:
            # Told at once, though nothing more may come to be written.
            self._arrived.set()
            self._hurry.set()


def _pieces(group: Sequence[_Given]) -> Iterator[tuple[Bytes, bytes]]:
    """What to write at once: what other processes made as it is, all else joined.

    Beside rows that are being made here, each call that gives the interpreter's lock away waits up
    to 5 ms to have it back: joining costs less. Where others make them, it is only a copy more.
    """
    own: list[_Given] = []
    for given in group:
        if isinstance(given.data, bytes):
            own.append(given)
            continue
        if own:
            yield _joined(own)
            own = []
        yield given.data, given.sums
    if own:
        yield _joined(own)


def _joined(parts: Sequence[_Given]) -> tuple[bytes, bytes]:
    return b"".join([part.data for part in parts]), b"".join([part.sums for part in parts])
