"""Three hundred damaged inputs, and any bytes at all: a class for each row, never a traceback."""

from __future__ import annotations

import codecs
import gzip
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchkms.errors import VERDICTS, InputBroken, InputError
from batchkms.records import ErrorClass, Record, Result
from batchkms.sources import open_source
from batchkms.sources.numbering import UNREADABLE

GOOD = {
    "jsonl": b"".join(
        b'{"id":"row-%d","plaintext":"secret %d","encryption_context":{"a":"b"}}\n' % (n, n)
        for n in range(40)
    ),
    "csv": b"id,plaintext,encryption_context\r\n"
    + b"".join(b'"row-%d","secret, ""%d""","{""a"":""b""}"\r\n' % (n, n) for n in range(40)),
}
RESULTS = {
    "jsonl": b"".join(
        b'{"seq":%d,"id":"row-%d","status":"ok","plaintext":"secret %d","attempts":1}\n' % (n, n, n)
        for n in range(40, 0, -1)
    ),
    "csv": b"seq,id,status,plaintext,class,code,attempts\r\n"
    + b"".join(b'%d,"row, %d",ok,secret %d,,,1\r\n' % (n, n, n) for n in range(40, 0, -1)),
}
PIECES = [
    *(
        b"\0",
        b'"',
        b",",
        b"\r",
        b"\n",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b"\\u0000", b"\\ud800", b"null", b"1e999", b"'", b"=1+1", b"\xc3", b"\x1f\x8b", b'""', b"\t"),
    b"9" * 400,
    b"[" * 500,
    b"x" * 5_000,
]


def damaged(seed: int) -> tuple[str, bytes]:
    """The name and the content of one damaged input."""
    source = random.Random(seed)  # noqa: S311 - reproducible, not secret
    format = source.choice(["jsonl", "csv"])
    content = bytearray((RESULTS if seed % 3 == 0 else GOOD)[format])
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(content) + 1)
        match source.randrange(4):
            case 0:
                content[at:at] = source.choice(PIECES)
            case 1:
                del content[at : at + source.randint(1, 60)]
            case 2:
                content[at : at + 1] = bytes([source.randrange(256)])
            case _:
                content[at:at] = content[at : at + source.randint(1, 200)]
    if source.random() < 0.3:
        packed = bytearray(gzip.compress(bytes(content)))
        if source.random() < 0.5:
            packed[source.randrange(10, len(packed))] ^= 1 << source.randrange(8)
        if source.random() < 0.5:
            del packed[source.randrange(len(packed)) :]
        return f"in.{format}.gz", bytes(packed)
    return f"in.{format}", bytes(content)


async def _read(path: Path, format: str | None = None) -> list[Record | Result]:
    """The rows; what stops the reading must be one of two errors, with a place and a hint."""
    rows: list[Record | Result] = []
    try:
        source = open_source(str(path), format=format, longest_row_bytes=10_000)
        try:
            async for batch in source.batches():
                rows += batch
        finally:
            await source.aclose()
    except (InputError, InputBroken) as error:
        assert str(path) in error.message
        assert error.hint
    return rows


def _check(rows: list[Record | Result], *, of_results: bool = False) -> None:
    numbers = [row.seq for row in rows]
    if of_results:
        # Rows that were doubled have the number that they bring twice; all others have their own.
        broken = [row.seq for row in rows if isinstance(row, Result) and row.code in UNREADABLE]
        assert all(numbers.count(number) == 1 for number in broken)
    else:
        assert numbers == list(range(1, len(rows) + 1))
    for row in rows:
        if isinstance(row, Result) and row.error_class is ErrorClass.INVALID_RECORD:
            assert row.code in VERDICTS
            assert row.message is not None
            assert "secret" not in row.message
            assert "line " in row.message


async def test_three_hundred_damaged_inputs(tmp_path: Path) -> None:
    began = time.monotonic()
    for seed in range(300):
        name, content = damaged(seed)
        path = tmp_path / name
        path.write_bytes(content)
        rows = await _read(path)
        _check(rows, of_results=seed % 3 == 0)
        if rows and name == "in.jsonl":
            lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
            assert len(rows) == sum(bool(line.strip()) for line in lines), seed
    assert time.monotonic() - began < 60, "one of them takes too long"


@pytest.mark.parametrize("head", ["", "inventory", "results"])
@pytest.mark.parametrize("format", ["jsonl", "csv"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=400) | st.lists(st.sampled_from(PIECES)).map(b"".join))
async def test_any_bytes_at_all(tmp_path: Path, format: str, head: str, content: bytes) -> None:
    path = tmp_path / "in.any"
    known = {"": b"", "inventory": GOOD[format][:60], "results": RESULTS[format][:140]}
    before = known[head][: known[head].rfind(b"\n") + 1]
    path.write_bytes(before + content)
    _check(await _read(path, format), of_results=head == "results")
