"""The group writer on virtual time: order, intervals, back pressure, errors."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from batchkms.errors import OutputError
from batchkms.runs.writer import Bytes, GroupWriter


class _Target:
    """Keeps what it is given. `gate` holds its thread up, `broken` makes it fail."""

    def __init__(self) -> None:
        self.groups: list[bytes] = []
        self.synced_bytes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.threads: set[str] = set()

    def append(self, data: Bytes, sums: bytes) -> None:
        self.gate.wait()
        self.threads.add(threading.current_thread().name)
        if self.broken:
            raise OutputError("broken on purpose")
        self.groups.append(bytes(data))

    def sync(self) -> None:
        if self.broken:
            raise OutputError("broken on purpose")
        self.synced_bytes.append(sum(map(len, self.groups)))


@pytest.fixture
def target() -> _Target:
    return _Target()


async def test_everything_is_written_in_order_by_the_end(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=1.0)
    rows = [b"%d\n" % number for number in range(1000)]
    for number, row in enumerate(rows):
        await writer.write(row)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await writer.aclose()
    assert b"".join(target.groups) == b"".join(rows)
    assert target.synced_bytes[-1] == sum(map(len, rows))
    assert "MainThread" not in target.threads


async def test_rows_are_synced_though_no_more_come(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=0.05)
    await writer.write(b"one\n")
    async with asyncio.timeout(5):
        while not target.synced_bytes:  # noqa: ASYNC110 - its thread sets no event
            await asyncio.sleep(0.01)
    assert target.synced_bytes == [4]
    await writer.aclose()


async def test_a_target_that_hangs_holds_the_writer_up_but_not_the_loop(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=1.0)
    target.gate.clear()
    chunk = b"x" * 300_000
    taken = 0

    async def fill() -> None:
        nonlocal taken
        while True:
            await writer.write(chunk)
            taken += 1

    filling = asyncio.create_task(fill())
    for _ in range(200):
        await asyncio.sleep(0.002)
    # Two megabytes wait, and the group that hangs in the thread.
    assert taken <= 14
    target.gate.set()
    async with asyncio.timeout(5):
        while taken < 30:  # noqa: ASYNC110 - its thread sets no event
            await asyncio.sleep(0.002)
    filling.cancel()
    await asyncio.wait([filling])
    await writer.aclose()
    assert sum(map(len, target.groups)) >= taken * len(chunk)


async def test_an_error_reaches_the_next_write_and_the_end(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=1.0)
    target.broken = True
    with pytest.raises(OutputError, match="broken on purpose"):
        async with asyncio.timeout(5):
            while True:
                await writer.write(b"row\n")
                await asyncio.sleep(0.01)
    with pytest.raises(OutputError, match="broken on purpose"):
        await writer.aclose()


async def test_an_error_lets_go_of_whoever_waits_for_room(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=1.0)
    target.broken = True
    with pytest.raises(OutputError, match="broken on purpose"):
        async with asyncio.timeout(5):
            await writer.write(b"x" * 5_000_000)
            await writer.write(b"x" * 5_000_000)
    with pytest.raises(OutputError):
        await writer.aclose()


async def test_a_failed_sync_is_not_tried_again(target: _Target) -> None:
    writer = GroupWriter(target, fsync_interval_s=3600.0)
    await writer.write(b"row\n")
    attempts = 0

    def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise OutputError("broken on purpose")

    target.sync = fail  # type: ignore[method-assign]  # the failure under test
    for _ in range(2):
        with pytest.raises(OutputError, match="broken on purpose"):
            await writer.aclose()
    assert attempts == 1


async def test_a_sync_that_takes_long_holds_up_writing_only_when_the_next_is_due(
    target: _Target,
) -> None:
    began, go_on = threading.Event(), threading.Event()
    syncs = 0

    def slow() -> None:
        nonlocal syncs
        syncs += 1
        began.set()
        go_on.wait()

    target.sync = slow  # type: ignore[method-assign]  # a disk that takes its time
    writer = GroupWriter(target, fsync_interval_s=0.3)
    await writer.write(b"one\n")
    await asyncio.to_thread(began.wait)
    await writer.write(b"two\n")
    async with asyncio.timeout(5):
        while len(target.groups) < 2:  # noqa: ASYNC110 - its thread sets no event
            await asyncio.sleep(0.01)
    # Once the interval of what was written since is over, too, nothing more is.
    await asyncio.sleep(0.5)
    await writer.write(b"last\n")
    await asyncio.sleep(0.4)
    assert b"last" not in b"".join(target.groups)
    assert syncs == 1
    go_on.set()
    await writer.aclose()
    assert target.groups[-1].endswith(b"last\n")


async def test_a_sync_that_fails_is_told_though_nothing_more_comes(target: _Target) -> None:
    def fail() -> None:
        raise OutputError("broken on purpose")

    target.sync = fail  # type: ignore[method-assign]  # the failure under test
    writer = GroupWriter(target, fsync_interval_s=0.05)
    await writer.write(b"one\n")
    async with asyncio.timeout(5):
        with pytest.raises(OutputError, match="broken on purpose"):
            while True:
                # No row: only whether there was an error.
                await writer.write(b"")
                await asyncio.sleep(0.01)
    with pytest.raises(OutputError):
        await writer.aclose()


async def test_rows_are_let_go_of_once_they_are_written(target: _Target) -> None:
    target.gate.clear()
    writer = GroupWriter(target, fsync_interval_s=1.0)
    rows: list[Bytes] = [
        b"small\n",
        b"L" * 40_000 + b"\n",
        memoryview(b"l" * 40_000 + b"\n"),
        b"end\n",
    ]
    let_go: list[int] = []
    for number, row in enumerate(rows):
        await writer.write(row, let_go=partial(let_go.append, number))
    await asyncio.sleep(0.2)
    assert let_go == []
    target.gate.set()
    await writer.aclose()
    assert let_go == [0, 1, 2, 3]
    # Those of other processes are written as they are, without a copy.
    assert target.groups == [bytes(rows[0]) + bytes(rows[1]), bytes(rows[2]), b"end\n"]


async def test_a_defect_ends_the_writing_instead_of_holding_it_up(target: _Target) -> None:
    def start_no_thread() -> None:
        raise RuntimeError("can't start new thread")

    target.sync = start_no_thread  # type: ignore[method-assign]  # as a thread that fails to start
    writer = GroupWriter(target, fsync_interval_s=0.01)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="new thread"):
            while True:
                await writer.write(b"x" * 300_000)
        with pytest.raises(RuntimeError, match="new thread"):
            await writer.aclose()
