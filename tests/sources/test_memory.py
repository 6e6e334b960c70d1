"""Memory and time stay flat: long inputs through a pipe, and lines far over the cap."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from batchkms.sources.reading import RowReader
from tests.sources.given import csv_reader, jsonl_reader, outcome

linux = pytest.mark.skipif(sys.platform != "linux", reason="peaks are told by /proc")

_MEASURED = """
import asyncio, json, re, sys
from pathlib import Path
from batchkms.sources import open_source

def kib(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

async def main():
    source = open_source("-", format=sys.argv[1])
    before, rows, codes = None, 0, {}
    async for batch in source.batches():
        rows += len(batch)
        before = before or kib("VmRSS")
        for row in batch:
            if code := getattr(row, "code", None):
                codes[code] = codes.get(code, 0) + 1
    print(json.dumps({"rows": rows, "codes": codes, "grown_kib": kib("VmHWM") - before}))

asyncio.run(main())
"""


def measured(format: str, chunks: Iterable[bytes]) -> dict[str, object]:
    """What a process of its own made of these bytes, given to its stdin."""
    program = [sys.executable, "-c", _MEASURED, format]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for chunk in chunks:
            process.stdin.write(chunk)
        process.stdin.close()
        told = json.loads(process.stdout.read())
    assert isinstance(told, dict)
    return told


def _grown_kib(told: dict[str, object]) -> int:
    grown = told["grown_kib"]
    assert isinstance(grown, int)
    return grown


@linux
def test_two_hundred_megabytes_of_jsonl_leave_memory_as_it_was() -> None:
    lot = b'{"id":"prod/db","plaintext":"%s"}\n' % (b"x" * 968) * 1_000
    assert len(lot) == 1_000_000
    told = measured("jsonl", (lot for _ in range(200)))
    assert (told["rows"], told["codes"]) == (200_000, {})
    assert _grown_kib(told) < 8 * 1024


@linux
def test_fifty_megabytes_of_quoted_csv_leave_memory_as_it_was() -> None:
    lot = b'"prod/db","%s\nsecond ""line"""\r\n' % (b"x" * 970) * 1_000
    assert len(lot) == 1_000_000
    told = measured("csv", _with_header(lot for _ in range(50)))
    assert (told["rows"], told["codes"]) == (50_000, {})
    assert _grown_kib(told) < 8 * 1024


def _with_header(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield b"id,plaintext\r\n"
    yield from chunks


@linux
@pytest.mark.parametrize(
    ("format", "begin", "end"),
    [
        ("jsonl", b'{"plaintext":"x"}\n{"plaintext":"', b'"}\n{"plaintext":"x"}\n'),
        ("csv", b"id,plaintext\na,x\nb,", b"\nc,x\n"),
        ("csv", b'id,plaintext\na,x\nb,"', b'\n""\n"\nc,x\n'),
    ],
)
def test_a_row_of_fifty_megabytes_fails_alone_in_little_memory(
    format: str, begin: bytes, end: bytes
) -> None:
    megabyte = b"y" * 1_000_000
    told = measured(format, (begin, *(megabyte for _ in range(50)), end))
    assert (told["rows"], told["codes"]) == (3, {"RowTooLong": 1})
    assert _grown_kib(told) < 8 * 1024


@pytest.mark.parametrize(
    ("make", "begin", "end"),
    [
        (jsonl_reader, b'{"plaintext":"', b'"}\n'),
        (csv_reader, b"id,plaintext\na,", b"\n"),
        (csv_reader, b'id,plaintext\na,"', b'"\n'),
    ],
)
@pytest.mark.parametrize("longest", [1_000, 1 << 25], ids=["skipped", "kept"])
def test_a_long_row_takes_time_in_proportion(
    make: Callable[..., RowReader], begin: bytes, end: bytes, longest: int
) -> None:
    """20 MB in 20,000 pieces: joined anew for each piece, they would be 200 GB to copy."""
    piece = b"z" * 1_000
    began = time.process_time()
    found = outcome(make(longest=longest), [begin, *[piece] * 20_000, end])
    assert time.process_time() - began < 3
    assert found.codes == ["RowTooLong" if longest == 1_000 else "PlaintextTooLarge"]


def test_a_quoted_cell_of_many_lines_takes_time_in_proportion() -> None:
    lines = 200_000
    began = time.process_time()
    found = outcome(csv_reader(), [b'id,plaintext\na,"', *[b"\n\n\n\n"] * (lines // 4), b'"\n'])
    assert time.process_time() - began < 3
    assert found.codes == ["PlaintextTooLarge"]
