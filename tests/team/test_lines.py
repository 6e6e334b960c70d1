"""Lines that are dealt in blocks become the very rows that one reader makes of the input."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.blockdigest import BlockDigest
from batchkms.errors import RunStopped
from batchkms.records import Record, Result
from batchkms.runs.fingerprint import InputRows, digested
from batchkms.sources import line_reader, lineblocks
from batchkms.sources.base import Fields
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.lineblocks import LineBlock, LineBlocks
from batchkms.team.inbox import LineRows
from batchkms.team.messages import Digests, lines_parts, read_lines

LONGEST = 60

Row = Record | Result

_LINE = st.sampled_from(
    [
        *(
            b'{"id":"a","plaintext":"x"}',
            b'{"plaintext":"%s"}' % (b"y" * 20),
            b"",
            b"",
            b" \t",
            b"\r",
        ),
        *(b"[]", b"{", b"\xff", b'{"plaintext":"%s"}' % (b"z" * 80), b"5", b'{"id":"b"}'),
    ]
)
_INPUT = st.lists(_LINE, max_size=120).map(b"\n".join)


def _reader() -> JsonlReader:
    return line_reader(
        "in",
        fields=Fields(required=frozenset({"id", "owner"})),
        needs_key=False,
        max_plaintext_bytes=50,
        longest_row_bytes=LONGEST,
    )


def _alone(text: bytes) -> list[Row]:
    reader = _reader()
    # An array would be refused before any line is dealt.
    made = [*reader.feed(b'{"plaintext":"first"}\n' + text), *reader.end()]
    return [row for rows in made for row in rows]


def _blocks(
    text: bytes, cuts: list[int], *, rows: int, limit: int | None, trickles: bool, worth: int
) -> Iterator[LineBlock]:
    blocks = LineBlocks(longest_row_bytes=LONGEST, block_rows=rows, limit=limit, trickles=trickles)
    text = b'{"plaintext":"first"}\n' + text
    begin = 0
    with pytest.MonkeyPatch.context() as patch:
        # As it is, no input of a few lines would have a block end with its chunk.
        patch.setattr(lineblocks, "_WORTH_BYTES", worth)
        for cut in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
            yield from blocks.feed(text[begin:cut])
            begin = cut
        yield from blocks.end()


@given(
    _INPUT,
    st.lists(st.integers(0, 10_000), max_size=20),
    st.sampled_from([1, 16, 48, 64]),
    st.booleans(),
    st.none() | st.integers(1, 60),
    st.sampled_from([0, 100, 1000, 2**20]),
)
def test_blocks_of_lines_become_the_rows_that_one_reader_makes(
    text: bytes, cuts: list[int], rows: int, trickles: bool, limit: int | None, worth: int
) -> None:
    expected = _alone(text)[:limit]
    members, told, made = [LineRows(_reader()) for _ in range(2)], list[Digests](), list[Row]()
    turn = 0
    for block in _blocks(text, cuts, rows=rows, limit=limit, trickles=trickles, worth=worth):
        turn += block.rows_before % 16 == 0
        member = members[turn % 2]
        sent = read_lines(memoryview(b"".join(lines_parts(block, None))), None)
        assert sent == replace(block, pieces=(block.text,))
        of_block = [row for batch in member.read(sent) for row in batch]
        assert len(of_block) == block.rows
        made += of_block
        told.append(member.news())
    told += [member.rest() for member in members]
    assert made == expected

    whole, gathered = BlockDigest(), InputRows()
    whole.update([*map(digested, expected)])
    for digests in reversed(told):
        for blocks in digests.blocks:
            gathered.note_blocks(*blocks)
    assert (gathered.prefix().rows, gathered.prefix().sha256) == (whole.rows, whole.hexdigest())


def test_blank_lines_take_no_memory_and_are_counted() -> None:
    blocks = LineBlocks(longest_row_bytes=LONGEST, block_rows=16, limit=None, trickles=False)
    for _ in range(50):
        assert [*blocks.feed(b"\n" * 10_000)] == []
    (block,) = [*blocks.feed(b'{"id":"a"}'), *blocks.end()]
    assert (block.lines_before, block.rows, len(block.text)) == (500_000, 1, 10)


def test_blank_lines_behind_rows_take_bounded_memory() -> None:
    blocks = LineBlocks(longest_row_bytes=LONGEST, block_rows=512, limit=None, trickles=False)
    rows = b'{"id":"a"}\n' * 511
    made = [*blocks.feed(rows)]
    tracemalloc.start()
    try:
        for _ in range(20):
            made += blocks.feed(b"\n" * 10_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000
    made += [*blocks.feed(b'{"id":"b"}\n'), *blocks.end()]
    assert sum(block.rows for block in made) == 512
    assert made[-1].lines_before + made[-1].text.count(b"\n") + 1 == 200_512


def test_a_block_has_no_more_than_a_mebibyte_and_a_row() -> None:
    blocks = LineBlocks(longest_row_bytes=2**20, block_rows=256, limit=None, trickles=False)
    row = b'{"plaintext":"%s"}\n' % (b"x" * 300_000)
    made = [block for _ in range(40) for block in blocks.feed(row)]
    assert max(len(block.text) for block in made) < 2**20 + len(row) * 2
    # Cut in the middle of a block of digests, it goes on with no more than the rest of it.
    inside = [block for block in made if block.rows_before % 16]
    assert inside
    assert all(block.rows_before % 16 + block.rows <= 16 for block in inside)


def test_a_chunk_of_lines_is_one_block_but_for_a_few_rows_that_wait() -> None:
    blocks = LineBlocks(longest_row_bytes=2**20, block_rows=2048, limit=None, trickles=False)
    chunk = (b'{"plaintext":"%s"}\n' % (b"x" * 280)) * 900
    made = [block.rows for _ in range(4) for block in blocks.feed(chunk)]
    assert made == [896, 896, 896, 912]
    assert [block.rows for block in blocks.end()] == []
    assert sum(made) == blocks.rows == 3600


def test_fields_that_were_seen_are_told_once() -> None:
    rows = LineRows(_reader())
    for text, seen in ((b'{"id":"a"}', ["id"]), (b'{"id":"a"}', []), (b'{"owner":1}', ["owner"])):
        block = LineBlock(lines_before=0, rows_before=0, rows=1, pieces=(text,))
        assert [*rows.read(block)]
        assert rows.news().seen == seen


def test_a_row_with_a_seq_of_its_own_is_refused() -> None:
    block = LineBlock(
        lines_before=9,
        rows_before=8,
        rows=1,
        pieces=(b'{"status":"ok","seq":1,"id":"a","plaintext":"x"}',),
    )
    told = "row 9 of the input, and perhaps some before it, are rows of a result file"
    with pytest.raises(RunStopped, match=told):
        [*LineRows(_reader()).read(block)]
