"""The index of rows: every place comes back, in bounded memory, whatever the numbers."""

from __future__ import annotations

import random
import resource
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import OutputError
from batchkms.runs.rowindex import BLOCK_ROWS, CHOSEN, MATCHED, OK, Place, RowIndex, TooFarApart

SEQS = st.one_of(st.integers(1, 4 * BLOCK_ROWS), st.integers(1, 2**63 - 1))


@given(rows=st.dictionaries(SEQS, st.integers(0, 2**50), max_size=60), data=st.data())
def test_every_place_comes_back(rows: dict[int, int], data: st.DataObject) -> None:
    with RowIndex(held_blocks=2) as index:
        for seq, offset in rows.items():
            assert index.add(seq, offset, OK)
        assert index.rows == len(rows)
        marked = data.draw(st.sets(st.sampled_from(sorted(rows)))) if rows else set()
        for seq in marked:
            index.mark(seq, CHOSEN)
        expected = {
            seq: Place(offset, OK | CHOSEN * (seq in marked)) for seq, offset in rows.items()
        }
        assert {seq: index.find(seq) for seq in rows} == expected
        assert list(index.all_rows()) == sorted(expected.items())


@given(seqs=st.lists(SEQS, max_size=60))
def test_a_number_that_comes_again_is_told_and_the_first_place_stays(seqs: list[int]) -> None:
    with RowIndex(held_blocks=1) as index:
        first: dict[int, int] = {}
        for offset, seq in enumerate(seqs):
            assert index.add(seq, offset, 0) is (seq not in first)
            first.setdefault(seq, offset)
        assert {seq: index.find(seq) for seq in first} == {
            seq: Place(offset, 0) for seq, offset in first.items()
        }


def test_what_is_not_there_is_not_found_and_cannot_be_marked() -> None:
    with RowIndex() as index:
        index.add(5, 0, 0)
        for seq in (4, 6, 5 + BLOCK_ROWS, 2**62):
            index.mark(seq, MATCHED)
            assert index.find(seq) is None


def test_rows_may_be_marked_while_they_are_gone_through() -> None:
    with RowIndex(held_blocks=1) as index:
        for seq in range(1, 3 * BLOCK_ROWS):
            index.add(seq, seq, 0)
        for seq, _ in index.all_rows():
            index.mark(3 * BLOCK_ROWS - seq, MATCHED)
        assert all(place.flags == MATCHED for _, place in index.all_rows())


def test_numbers_that_lie_too_far_apart_are_refused_one_by_one() -> None:
    with RowIndex(held_blocks=2, most_blocks=3) as index:
        for block in range(3):
            index.add(1 + block * 2**40, block, 0)
        with pytest.raises(TooFarApart):
            index.add(2**62, 9, 0)
        assert index.add(2, 9, 0)
        assert index.rows == 4


def test_what_speaks_against_a_temporary_file_is_told() -> None:
    tempfile.gettempdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(OutputError, match="cannot be used: Too many open files") as refused:
            RowIndex()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in str(refused.value.hint)


def test_only_some_blocks_are_in_memory() -> None:
    with RowIndex(held_blocks=4) as index:
        seqs = list(range(1, 100 * BLOCK_ROWS, 17))
        random.Random(1).shuffle(seqs)  # noqa: S311 - an order, no secret
        for seq in seqs[:20_000]:
            index.add(seq, seq * 3, OK)
        assert len(index._held) == 4
        assert all(index.find(seq) == Place(seq * 3, OK) for seq in seqs[:500])
