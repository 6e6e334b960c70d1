"""The index of ids against counting them in a dictionary, and what it leaves on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.checks.idindex import BUCKETS, NAMED_SEQS, IdIndex

Group = tuple[str, int, tuple[int, ...]]


def found_in(rows: Sequence[tuple[str, int]], *, held_rows: int) -> set[Group]:
    """Id, rows and first ordinals of each duplicate that the index finds."""
    groups: set[Group] = set()
    with IdIndex(held_rows=held_rows) as index:
        for row_id, seq in rows:
            index.add(row_id, seq)
        names = {index.digest(row_id): row_id for row_id, _ in rows}
        for bucket in range(BUCKETS):
            for each in index.duplicates(bucket):
                group = (names[each.digest], each.rows, each.seqs)
                assert group not in groups
                groups.add(group)
    return groups


def counted(rows: Sequence[tuple[str, int]]) -> set[Group]:
    """The same, in the plainest way."""
    seqs: dict[str, list[int]] = {}
    for row_id, seq in rows:
        seqs.setdefault(row_id, []).append(seq)
    return {
        (row_id, len(each), tuple(each[:NAMED_SEQS]))
        for row_id, each in seqs.items()
        if len(each) > 1
    }


ids = st.one_of(
    st.sampled_from("abc"), st.text(max_size=3), st.integers(0, 50).map(str), st.just("\ud800")
)


@given(
    rows=st.lists(st.tuples(ids, st.integers(1, 2**63 - 1)), max_size=120),
    held_rows=st.sampled_from([1, 2, 7, 50, 1_000]),
)
def test_duplicates_are_those_that_counting_finds(
    rows: list[tuple[str, int]], held_rows: int
) -> None:
    assert found_in(rows, held_rows=held_rows) == counted(rows)


@pytest.mark.parametrize("held_rows", [64, 5_000, 10**9])
def test_thousands_of_duplicates_among_thousands_of_rows(held_rows: int) -> None:
    rows = [(f"secret-{seq % 7_001 if seq % 3 else seq}", seq) for seq in range(1, 20_001)]
    assert found_in(rows, held_rows=held_rows) == counted(rows)


def test_what_was_looked_at_may_be_added_to() -> None:
    with IdIndex(held_rows=3) as index:
        for seq in range(1, 8):
            index.add("a", seq)
            list(index.duplicates(index.digest("a")[0]))
        (found,) = index.duplicates(index.digest("a")[0])
    assert found.seqs == (1, 2, 3, 4, 5, 6, 7)


def test_the_file_has_no_name_and_holds_no_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    secret = "an-id-that-tells-too-much"
    with IdIndex(held_rows=2) as index:
        for seq in range(1, 100):
            index.add(f"{secret}-{seq % 50}", seq)
        file = index._file
        assert file is not None
        assert list(tmp_path.iterdir()) == []
        file.seek(0)
        content = file.read()
    assert file.closed
    assert len(content) == 98 * 24
    assert secret.encode() not in content


def test_two_indexes_give_an_id_different_hashes() -> None:
    with IdIndex() as one, IdIndex() as other:
        assert one.digest("a") == one.digest("a") != other.digest("a")
