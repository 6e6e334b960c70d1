"""Files, pipes and stdin as inputs: what is opened, refused, counted and let go of."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchkms.errors import ConfigError, InputBroken, InputError
from batchkms.sources import open_source
from tests.sources.given import Outcome, failure, read, record
from tests.sources.inventory import as_records, make_rows, to_jsonl

ROWS = make_rows(40, seed=5)
DATA = to_jsonl(ROWS)
linux = pytest.mark.skipif(sys.platform != "linux", reason="relies on /proc or Linux terminals")

REFUSED = {
    "UTF-16 little-endian": (DATA.decode().encode("utf-16"), "is UTF-16", "iconv -f UTF-16"),
    "UTF-16 big-endian": (b"\xfe\xff" + b"\0i\0d", "is UTF-16", "iconv -f UTF-16"),
    "UTF-32": (DATA.decode().encode("utf-32"), "is UTF-32", "iconv -f UTF-32"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24\x00", "zstd", "zstd -dc"),
    "xz": (b"\xfd7zXZ\x00\x00", "xz", "xz -dc"),
    "bzip2": (b"BZh91AY&SY\x00", "bzip2", "bzip2 -dc"),
    "zip": (b"PK\x03\x04\x14\x00", "zip archive", "unzip -p"),
    "gzip of zip": (gzip.compress(b"PK\x03\x04\x14\x00"), "zip archive", "unzip -p"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
async def test_other_kinds_of_files_are_refused_with_a_command(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    data, says, command = REFUSED[kind]
    path = tmp_path / f"in.{suffix}"
    path.write_bytes(data)
    found = await read(str(path))
    _assert_refused(found, says)
    assert found.error is not None
    assert command in (found.error.hint or "")


async def test_the_signature_may_come_byte_by_byte(tmp_path: Path) -> None:
    for data, says, _ in REFUSED.values():
        with _fifo(tmp_path, [data[i : i + 1] for i in range(len(data[:40]))]) as path:
            _assert_refused(await read(path, format="jsonl"), says)
    with _fifo(tmp_path, [b"\xef", b"\xbb", b"\xbf", DATA]) as path:
        assert (await read(path, format="jsonl")).rows == as_records(ROWS)


def _assert_refused(found: Outcome, says: str) -> None:
    assert isinstance(found.error, InputError)
    assert says in found.error.message
    assert not found.rows


@contextmanager
def _fifo(folder: Path, writes: list[bytes]) -> Iterator[str]:
    """A named pipe into which a thread writes, one piece after the other."""
    path = folder / "fifo"
    os.mkfifo(path)

    def write() -> None:
        # Whoever refuses the input closes it before all was written.
        try:
            with open(path, "wb", buffering=0) as pipe:
                for piece in writes:
                    pipe.write(piece)
        except BrokenPipeError:
            return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield str(path)
    finally:
        writer.join(10)
        path.unlink()
    assert not writer.is_alive()


async def test_a_fifo_is_read_as_it_comes(tmp_path: Path) -> None:
    with _fifo(tmp_path, [DATA[i : i + 100] for i in range(0, len(DATA), 100)]) as path:
        source = open_source(path, format="jsonl")
        assert source.size_bytes is None
        rows = [row async for rows in source.batches() for row in rows]
        await source.aclose()
    assert rows == as_records(ROWS)
    assert source.read_bytes == len(DATA)
    assert source.sha256 == hashlib.sha256(DATA).hexdigest()


async def test_the_first_row_does_not_wait_for_the_second(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = open_source(str(path), format="jsonl")
    batches = source.batches()
    first = asyncio.ensure_future(anext(aiter(batches)))
    pipe = await asyncio.to_thread(os.open, path, os.O_WRONLY)
    os.write(pipe, b"{}\n")
    rows = await asyncio.wait_for(first, 10)
    # Three bytes: shorter than some of the signatures that the input might still begin with.
    assert failure(rows[0]).code == "MissingPlaintext"
    os.close(pipe)
    assert [rows async for rows in batches] == []
    await source.aclose()


@pytest.mark.parametrize(
    ("name", "data"),
    [("in.jsonl", b'{"plaintext":"x"}\n{"plaintext":"y"}'), ("in.csv", b"plaintext\nx\ny")],
)
async def test_a_last_row_needs_no_line_end(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert [record(row).plaintext for row in (await read(str(path))).rows] == [b"x", b"y"]


async def test_an_open_quote_at_the_end_of_a_file_is_a_break(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b'plaintext\nx\n"y\n')
    found = await read(str(path))
    assert [row.seq for row in found.rows] == [1]
    assert isinstance(found.error, InputBroken)
    assert f"{path}, line 3: " in found.error.message


async def test_others_have_their_turn_while_rows_are_there(tmp_path: Path) -> None:
    """One chunk holds many lots of rows, and none of them has to be waited for."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"plaintext":"x"}\n' * 3_000)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    source = open_source(str(path))
    batches = source.batches()
    await anext(aiter(batches))
    counting = asyncio.ensure_future(count_turns())
    lots = [len(rows) async for rows in batches]
    counting.cancel()
    await source.aclose()
    assert sum(lots) == 3_000 - 256
    assert turns >= len(lots)


@pytest.mark.parametrize("packed", [False, True])
async def test_size_progress_and_digest_are_of_the_file_as_stored(
    tmp_path: Path, packed: bool
) -> None:
    stored = gzip.compress(DATA) if packed else DATA
    path = tmp_path / "in.jsonl"
    path.write_bytes(stored)
    source = open_source(str(path))
    assert (source.name, source.size_bytes, source.read_bytes) == (str(path), len(stored), 0)
    assert source.sha256 is None
    async for _ in source.batches():
        assert source.sha256 is None
    assert source.read_bytes == len(stored)
    assert source.sha256 == hashlib.sha256(stored).hexdigest()
    await source.aclose()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
async def test_an_empty_input_has_no_rows(tmp_path: Path, suffix: str, data: bytes) -> None:
    for name, stored in ((f"in.{suffix}", data), (f"in.{suffix}.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(stored)
        found = await read(str(tmp_path / name))
        assert (found.rows, found.error) == ([], None)


async def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    for data in (b"id,plaintext", b'"id","plaintext"\r\n', b"plaintext\n\n"):
        path.write_bytes(data)
        found = await read(str(path))
        assert (found.rows, found.error) == ([], None)


def test_what_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file") as missing:
        open_source(str(tmp_path / "missing.jsonl"))
    assert "check the path" in (missing.value.hint or "")
    with pytest.raises(InputError, match="is a folder") as folder:
        open_source(str(tmp_path), format="csv")
    assert "name one file" in (folder.value.hint or "")
    with pytest.raises(InputError, match="cannot be read"):
        open_source("nul\0.jsonl")
    with pytest.raises(InputError, match="Not a directory"):
        (tmp_path / "file").touch()
        open_source(str(tmp_path / "file" / "in.csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.touch(mode=0)
    with pytest.raises(InputError, match="Permission denied") as denied:
        open_source(str(path))
    assert "permissions" in (denied.value.hint or "")


def test_the_format_goes_by_the_suffix_unless_it_is_said() -> None:
    for name in ("in", "in.txt", "in.gz", "in.json", "in.csv.zst", ".csv"):
        with pytest.raises(ConfigError, match="does not tell its format") as error:
            open_source(name)
        assert "--format" in (error.value.hint or "")
    with pytest.raises(ConfigError, match="stdin has no suffix"):
        open_source("-")
    with pytest.raises(ConfigError, match="'parquet' is no input format"):
        open_source("in.csv", format="parquet")


@linux
async def test_a_first_read_that_fails_is_no_break(tmp_path: Path) -> None:
    """Reading a process's memory at address 0 is an I/O error of the kernel."""
    found = await read("/proc/self/mem", format="jsonl")
    assert isinstance(found.error, InputError)
    assert "Input/output error" in found.error.message
