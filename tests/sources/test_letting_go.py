"""A source that is left early keeps neither its file nor its thread."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import sys
import threading
from pathlib import Path

import pytest

from batchkms.sources import open_source
from tests.sources.inventory import make_rows, to_jsonl

ROWS = make_rows(40, seed=5)
DATA = to_jsonl(ROWS)

linux = pytest.mark.skipif(sys.platform != "linux", reason="relies on /proc or Linux terminals")


def _open_descriptors(path: Path) -> int:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(link) == str(path) for link in links)


async def _reader_threads_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "batchkms-input":
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


@linux
async def test_leaving_early_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(DATA * 2_000)
    source = open_source(str(path))
    async for rows in source.batches():
        assert rows
        assert _open_descriptors(path) == 1
        break
    await source.aclose()
    await source.aclose()
    await _reader_threads_ended()
    assert _open_descriptors(path) == 0
    assert source.sha256 is None


@linux
async def test_a_cancelled_reader_lets_go_of_the_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = open_source(str(path), format="jsonl")
    reading = asyncio.ensure_future(anext(aiter(source.batches())))
    pipe = await asyncio.to_thread(os.open, path, os.O_WRONLY)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await source.aclose()
    os.close(pipe)
    await _reader_threads_ended()
    assert _open_descriptors(path) == 0


@linux
async def test_closed_before_it_is_read_it_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(DATA)
    source = open_source(str(path))
    assert _open_descriptors(path) == 1
    await source.aclose()
    assert _open_descriptors(path) == 0


async def test_an_error_that_was_read_ahead_is_not_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run stopped for another reason: that the input breaks off later is no news."""
    data = gzip.compress(b'{"plaintext":"x"}\n' * 5_000)[:-8]
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(data)
    source = open_source(str(path))
    async for rows in source.batches():
        assert rows
        # Time enough to read all of this small file ahead; too little would only prove less.
        await asyncio.sleep(0.1)
        break
    assert source.read_bytes == len(data)
    await source.aclose()
    await _reader_threads_ended()
    # The loop ends the iteration that was left, in a task of its own.
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert caplog.records == []
