"""Files, pipes and stdin as inputs: what is opened, refused, counted and let go of."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchkms.errors import ConfigError, InputBroken, InputError
from batchkms.sources import open_source
from tests.sources.given import Outcome, read, record
from tests.sources.inventory import as_records, make_rows, to_csv, to_jsonl

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
    os.write(pipe, b'{"plaintext":"x"}\n')
    rows = await asyncio.wait_for(first, 10)
    assert record(rows[0]).plaintext == b"x"
    os.close(pipe)
    assert [rows async for rows in batches] == []
    await source.aclose()


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
    with pytest.raises(InputError, match="Is a directory") as folder:
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


@contextmanager
def _as_stdin(fd: int) -> Iterator[None]:
    saved = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


@linux
async def test_an_io_error_later_is_a_break_after_the_rows_before_it() -> None:
    """A terminal whose other side hangs up gives out what was written, then an I/O error."""
    here, there = pty.openpty()
    tty.setraw(there)
    os.write(there, b'{"plaintext":"x"}\n{"plaintext":"torn')
    os.close(there)
    with _as_stdin(here):
        found = await read("-", format="jsonl")
    os.close(here)
    assert [row.seq for row in found.rows] == [1]
    assert isinstance(found.error, InputBroken)
    assert found.error.message == (
        "stdin, line 2: the input breaks off: reading failed: Input/output error"
    )


async def test_stdin_may_be_a_pipe_that_someone_made_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with _as_stdin(reading):
        source = open_source("-", format="csv")
        assert (source.name, source.size_bytes) == ("stdin", None)
        batches = source.batches()
        first = asyncio.ensure_future(anext(aiter(batches)))
        await asyncio.sleep(0)
        os.write(writing, to_csv(ROWS))
        os.close(writing)
        rows = await asyncio.wait_for(first, 10)
        rows += [row async for more in batches for row in more]
        await source.aclose()
    os.close(reading)
    assert rows == as_records(ROWS)


async def test_stdin_may_be_a_file_or_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(DATA)
    for name, fd in (("in", os.open(path, os.O_RDONLY)), ("", os.open(tmp_path, os.O_RDONLY))):
        with _as_stdin(fd):
            found = await read("-", format="jsonl")
        os.close(fd)
        if name:
            assert found.rows == as_records(ROWS)
        else:
            assert isinstance(found.error, InputError)
            assert "Is a directory" in found.error.message


_CLOSED_STDIN = """
import asyncio, sys, tempfile
from batchkms.errors import InputError
from batchkms.sources import open_source
taken = tempfile.TemporaryFile()
assert taken.fileno() == 0, "the point of this test: another file has the number of stdin"
async def main():
    try:
        open_source("-", format="jsonl")
    except InputError as error:
        print(error.message, "|", error.hint)
asyncio.run(main())
"""


def test_a_closed_stdin_is_told_even_if_its_number_was_given_away() -> None:
    program = ["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, _CLOSED_STDIN]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("stdin cannot be read: Bad file descriptor | stdin is closed")


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
