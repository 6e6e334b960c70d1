"""Standard input: a pipe, a file, a terminal that hangs up, or nothing at all."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchkms.errors import InputBroken, InputError
from batchkms.sources import open_source
from tests.sources.given import read
from tests.sources.inventory import as_records, make_rows, to_csv, to_jsonl

ROWS = make_rows(40, seed=5)
DATA = to_jsonl(ROWS)

linux = pytest.mark.skipif(sys.platform != "linux", reason="relies on /proc or Linux terminals")


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
