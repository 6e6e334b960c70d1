"""A set of rows is a set, however rows are taken in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms import rowset
from batchkms.errors import InputBroken
from batchkms.rowset import RowSet

_NEAR_A_CHUNK = st.integers(0, 70) | st.integers(65_500, 65_600) | st.integers(0, 2**62)
_RUN = st.tuples(_NEAR_A_CHUNK, st.integers(1, 200) | st.just(70_000))


@given(st.lists(_NEAR_A_CHUNK, max_size=50))
def test_one_by_one(seqs: list[int]) -> None:
    rows, reference = RowSet(), set[int]()
    for seq in seqs:
        assert rows.add(seq) == (seq not in reference)
        reference.add(seq)
    assert len(rows) == len(reference)
    assert all((seq in rows) == (seq in reference) for seq in [*seqs, 0, 1, 65_536])


@settings(deadline=None)  # a machine that is busy is no defect
@given(st.lists(_RUN, max_size=6))
def test_rows_that_follow_one_another(runs: list[tuple[int, int]]) -> None:
    rows, reference = RowSet(), set[int]()
    for first, count in runs:
        seqs = list(range(first, first + count))
        above = not reference or first > max(reference)
        assert rows.add_next(seqs) == above
        if above:
            reference.update(seqs)
        else:
            taken = [rows.add(seq) for seq in seqs]
            assert taken == [seq not in reference for seq in seqs]
            reference.update(seqs)
    assert len(rows) == len(reference)
    for first, count in runs:
        for seq in (first - 1, first, first + count - 1, first + count):
            assert seq < 0 or (seq in rows) == (seq in reference)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_any_other_order_is_left_to_add(seqs: list[int]) -> None:
    rows = RowSet()
    if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        assert not rows.add_next(seqs)
        assert not len(rows)


def test_memory_does_not_grow_with_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowset, "MOST_CHUNKS", 3)
    rows = RowSet()
    assert rows.add(1) and rows.add(10**9) and rows.add(10**12) and rows.add(2)
    with pytest.raises(InputBroken, match="row 1000000000000000: .* too far apart") as stopped:
        rows.add(10**15)
    assert stopped.value.hint
    assert (len(rows), 10**15 in rows) == (4, False)
    following = RowSet()
    with pytest.raises(InputBroken):
        following.add_next(list(range(1, 4 * 65_536)))
