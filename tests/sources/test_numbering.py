"""A row that cannot be read never takes the number of another one, and delays no inventory."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchkms.errors import InputBroken
from batchkms.records import Record
from batchkms.rowset import RowSet
from batchkms.sources.base import Fields
from batchkms.sources.numbering import MOST_HELD
from batchkms.sources.reading import BATCH_ROWS
from tests.sources.given import Outcome, csv_reader, cut, jsonl_reader, outcome

FIELDS = Fields(plaintext="ciphertext")
BROKEN = {"jsonl": b"{broken", "csv": b"broken"}


def _row(format: str, seq: int) -> bytes:
    if format == "csv":
        return b"%d,row-%d,ok,secret %d,1" % (seq, seq, seq)
    row = {"seq": seq, "id": f"row-{seq}", "status": "ok", "ciphertext": f"secret {seq}"}
    return json.dumps(row | {"attempts": 1}).encode()


def _results(format: str, seqs: list[int | None]) -> bytes:
    """A result file with these rows, None for one that is damaged."""
    header = [b"seq,id,status,ciphertext,attempts"] * (format == "csv")
    rows = [BROKEN[format] if seq is None else _row(format, seq) for seq in seqs]
    return b"".join(line + b"\n" for line in [*header, *rows])


def _read(format: str, data: bytes, *, at: list[int] | None = None) -> Outcome:
    reader = {"jsonl": jsonl_reader, "csv": csv_reader}[format](fields=FIELDS)
    return outcome(reader, cut(data, at or []))


def _numbers(found: Outcome) -> list[tuple[int, bool]]:
    return [(row.seq, isinstance(row, Record)) for row in found.rows]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("seqs", "numbers"),
    [
        pytest.param([None, 2, 1, 4], [3], id="first"),
        pytest.param([4, 2, None, 1], [3], id="middle, another row has its ordinal"),
        pytest.param([3, 1, 2, None], [4], id="last"),
        pytest.param([None, 5, None, 1, None, 4], [2, 3, 6], id="several"),
        pytest.param([None, None, 2], [1, 3], id="the first ones"),
        pytest.param([9, None, 8, None], [1, 2], id="a part of a result file"),
    ],
)
def test_unreadable_rows_get_the_numbers_that_are_free(
    format: str, seqs: list[int | None], numbers: list[int]
) -> None:
    found = _read(format, _results(format, seqs))
    good = [seq for seq in seqs if seq is not None]
    assert _numbers(found) == [(seq, True) for seq in good] + [(seq, False) for seq in numbers]
    assert [row.id for row in found.rows[len(good) :]] == [str(number) for number in numbers]
    code = {"jsonl": "InvalidJson", "csv": "WrongCellCount"}[format]
    assert found.codes[len(good) :] == [code] * len(numbers)
    # They are given out in the order of their lines.
    first = 2 if format == "csv" else 1
    lines = [first + i for i, seq in enumerate(seqs) if seq is None]
    told = [getattr(row, "message", "") for row in found.rows[len(good) :]]
    assert [message.partition(":")[0] for message in told] == [f"line {line}" for line in lines]


_SEQS = st.lists(st.integers(1, 8) | st.none(), unique_by=lambda seq: seq or object(), max_size=12)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@given(seqs=_SEQS, at=st.lists(st.integers(0, 500), max_size=6))
@example(seqs=[None, None, None], at=[10])
def test_every_row_has_a_number_of_its_own_however_the_input_is_cut(
    format: str, seqs: list[int | None], at: list[int]
) -> None:
    data = _results(format, seqs)
    found = _read(format, data, at=at)
    assert found.comparable() == _read(format, data).comparable()
    numbers = [row.seq for row in found.rows]
    assert len(set(numbers)) == len(numbers) == len(seqs)


def test_an_ordinary_inventory_is_as_it_always_was() -> None:
    good = b'{"ciphertext":"x"}\n'
    data = b"{broken\n" + good + b"{broken\n" + good
    found = _read("jsonl", data)
    assert _numbers(found) == [(1, False), (2, True), (3, False), (4, True)]
    assert found.rows[0].id == "1"


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_no_row_of_an_ordinary_inventory_waits_for_the_end(format: str) -> None:
    reader = {"jsonl": jsonl_reader, "csv": csv_reader}[format](fields=FIELDS)
    header, good = {
        "jsonl": (b"", b'{"ciphertext":"x"}\n'),
        "csv": (b"id,ciphertext\n", b"a,x\n"),
    }[format]
    broken = BROKEN[format] + b"\n"
    assert [len(rows) for rows in reader.feed(header + good + broken)] == [2]
    assert [len(rows) for rows in reader.feed(broken)] == [1]
    assert [row.seq for rows in reader.feed(good) for row in rows] == [4]
    assert list(reader.end()) == []


def test_an_input_of_which_nothing_can_be_read_is_an_ordinary_one() -> None:
    reader = jsonl_reader(fields=FIELDS)
    rows = [row for rows in reader.feed(b"{broken\n" * BATCH_ROWS) for row in rows]
    assert [row.seq for row in rows] == list(range(1, BATCH_ROWS + 1))
    assert [row.seq for rows in reader.feed(b"{broken\n") for row in rows] == [BATCH_ROWS + 1]


def test_result_rows_after_ordinary_ones_leave_those_their_ordinals() -> None:
    data = b'{broken\n{"ciphertext":"x"}\n{broken\n' + _results("jsonl", [5, None, 4])
    found = _read("jsonl", data)
    numbers = [(1, False), (2, True), (3, False), (5, True), (4, True), (6, False)]
    assert _numbers(found) == numbers


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_result_file_with_too_many_unreadable_rows_is_none(format: str) -> None:
    rows: list[int | None] = [1, *[None] * MOST_HELD]
    assert len(_read(format, _results(format, rows)).rows) == MOST_HELD + 1
    found = _read(format, _results(format, [*rows, 2, None, 3]))
    assert isinstance(found.error, InputBroken)
    assert "this is no result file as a run leaves it" in found.error.message
    assert _numbers(found) == [(1, True), (2, True)]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(1, 20) | st.integers(65_530, 65_540)), st.integers(0, 12))
def test_what_a_set_of_rows_lacks(numbers: set[int], above: int) -> None:
    rows = RowSet()
    for number in [*numbers, *range(40, 65_530)]:
        rows.add(number)
    missing = rows.missing(above)
    expected = [n for n in range(above + 1, 65_600) if n not in rows]
    assert [next(missing) for _ in expected] == expected


def test_a_stretch_of_rows_without_a_gap_is_passed_over() -> None:
    rows = RowSet()
    for number in range(1, 200_000):
        rows.add(number)
    assert next(rows.missing(0)) == 200_000
