"""Gzip inputs: members, padding, and where a damaged one stops."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.errors import InputBroken, InputError
from batchkms.records import Record, Result
from batchkms.sources.gunzip import StreamBroken, gunzip
from tests.sources.given import Outcome, cut, failure, jsonl_reader, outcome, read
from tests.sources.inventory import Row, as_records, make_rows, to_csv, to_jsonl

ROWS = make_rows(6, seed=3)
SHORT = [Row("a", "first"), Row("", 'se"cond\nin two lines', '{"a": "1"}'), Row("c", "last")]
PLACES = st.lists(st.integers(0, 400), max_size=8)


def unpacked(data: bytes, places: list[int]) -> tuple[bytes, str | None]:
    """What comes out, and how it broke, if it did."""
    out = bytearray()
    try:
        for piece in gunzip(iter(cut(data, places))):
            out += piece
    except StreamBroken as broken:
        return bytes(out), str(broken)
    return bytes(out), None


@settings(max_examples=100, deadline=None)
@given(
    members=st.lists(st.binary(max_size=100), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    places=PLACES,
)
def test_members_follow_each_other_with_padding(
    members: list[bytes], padding: int, places: list[int]
) -> None:
    data = b"".join(gzip.compress(member) + b"\0" * padding for member in members)
    assert unpacked(data, places) == (b"".join(members), None)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0), flipped=st.integers(1, 255), places=PLACES)
def test_damage_anywhere_is_found_and_nothing_false_comes_after(
    place: int, flipped: int, places: list[int]
) -> None:
    """The header's time, flags of no meaning and system may change without harm."""
    content = to_jsonl(ROWS)[:600]
    data = bytearray(gzip.compress(content, mtime=0))
    place %= len(data)
    data[place] ^= flipped
    out, broken = unpacked(bytes(data), places)
    if place < 10:
        assert broken or out == content
    else:
        assert broken


def test_what_precedes_corrupt_bytes_is_given_out() -> None:
    content = os.urandom(200_000)
    data = bytearray(gzip.compress(content))
    data[100_000:] = b"\xff" * (len(data) - 100_000)
    for places in ([], [*range(0, len(data), 999)]):
        out, broken = unpacked(bytes(data), places)
        assert broken == "the gzip data is corrupt"
        begun = len(os.path.commonprefix([out, content]))
        # A deflate block may end a little later: what comes from the damage itself is short.
        assert begun > 95_000
        assert len(out) - begun < 70_000


def test_a_small_file_of_much_content_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    sizes = [len(piece) for piece in gunzip(iter([bomb]))]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 64 * 1024


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv.gz"])
async def test_cut_off_at_any_byte_it_stops_after_the_rows_before(
    tmp_path: Path, suffix: str
) -> None:
    write = to_csv if "csv" in suffix else to_jsonl
    data = gzip.compress(write(SHORT))
    path = tmp_path / f"in.{suffix}"
    seen = set()
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        found = await read(str(path))
        assert found.rows == as_records(SHORT)[: len(found.rows)]
        # The header of a CSV may have been cut too.
        lines_before = write(SHORT[: len(found.rows)]).count(b"\n")
        _assert_cut_off(found, lines={lines_before + 1, 1 if not found.rows else lines_before + 1})
        seen.add(len(found.rows))
    # The last cuts take only of the checksum: every row was there, and still it is no success.
    assert {0, len(SHORT)} <= seen


def _assert_cut_off(found: Outcome, *, lines: set[int]) -> None:
    assert isinstance(found.error, InputBroken)
    place, _, how = found.error.message.partition(": ")
    assert how == "the input breaks off: the gzip data is cut off"
    assert int(place.rpartition("line ")[2]) in lines


async def test_the_line_of_the_break_is_the_one_its_row_began_on(tmp_path: Path) -> None:
    whole = b'plaintext\nfirst\n"second\nrow"\n'
    packer = zlib.compressobj(wbits=31)
    path = tmp_path / "in.csv.gz"
    path.write_bytes(packer.compress(whole + b'"a\nb\nc') + packer.flush(zlib.Z_SYNC_FLUSH))
    found = await read(str(path))
    assert [row.seq for row in found.rows] == [1, 2]
    assert isinstance(found.error, InputBroken)
    assert found.error.message == f"{path}, line 5: the input breaks off: the gzip data is cut off"
    assert found.error.hint


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"trailing text", "followed by something that is none"),
        (b"\0\0more", "followed by something that is none"),
        (b"\x1f\x8b", "cut off"),
        (gzip.compress(b"more", mtime=0)[:-5], "cut off"),
    ],
)
async def test_what_follows_must_be_gzip_too(tmp_path: Path, tail: bytes, reason: str) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(to_jsonl(ROWS)) + tail)
    found = await read(str(path))
    assert found.rows == as_records(ROWS)
    assert isinstance(found.error, InputBroken)
    assert reason in found.error.message


@pytest.mark.parametrize("place", [-8, -1], ids=["checksum", "length"])
async def test_a_wrong_checksum_or_length_is_a_break(tmp_path: Path, place: int) -> None:
    data = bytearray(gzip.compress(to_jsonl(ROWS)))
    data[place] ^= 1
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(data)
    found = await read(str(path))
    assert found.rows == as_records(ROWS)
    assert isinstance(found.error, InputBroken)
    assert "the gzip data is corrupt" in found.error.message


async def test_gzip_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(gzip.compress(to_jsonl(ROWS)))
    assert (await read(str(path))).rows == as_records(ROWS)
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(to_jsonl(ROWS))
    assert (await read(str(plain))).rows == as_records(ROWS)


async def test_gzip_within_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.compress(to_jsonl(ROWS))))
    found = await read(str(path))
    assert isinstance(found.error, InputError)
    assert "gzip twice" in found.error.message


@settings(max_examples=50, deadline=None)
@given(places=PLACES)
def test_a_row_is_whole_however_its_bytes_were_packed(places: list[int]) -> None:
    content = to_jsonl(ROWS)
    data = b"".join(gzip.compress(part) for part in cut(content, places))
    rows: list[Record | Result] = outcome(jsonl_reader(), gunzip(iter([data]))).rows
    assert rows == as_records(ROWS)


def test_the_row_that_a_break_tears_is_not_given_out() -> None:
    found = outcome(jsonl_reader(), [b'{"plaintext":"whole"}\n{"plaintext":"to'])
    # Only the end of the input ends a row without a newline: a break never gets there.
    assert failure(found.rows[1]).code == "InvalidJson"
    reader = jsonl_reader()
    torn = [row for rows in reader.feed(b'{"plaintext":"whole"}\n{"a":1}') for row in rows]
    assert len(torn) == 1
    assert reader.line == 2
