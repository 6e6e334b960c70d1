"""CSV rows against Python's own csv module, which judges cells, row ends and unclosed quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from tests.sources.given import csv_reader, cut, failure, only, outcome, record

HEADER = b"id,plaintext\n"
TEXTS = st.text(st.sampled_from('ab",\r\n'), max_size=40)
"""Quotes, commas and line ends wherever they can stand."""
LONG_TEXTS = st.lists(
    st.sampled_from(["a,b", "\n", '""', "a" * 10, "b" * 7, '"', 'a,"b\n', 'c"\r\n', "a,x\r\n"]),
    max_size=12,
).map("".join)
PLACES = st.lists(st.integers(0, 50), max_size=8)


@dataclass
class Judged:
    """What the csv module makes of a text: rows, the bytes of each, and how it ended."""

    rows: list[list[str]] = field(default_factory=list)
    sizes_bytes: list[int] = field(default_factory=list)
    error: str | None = None
    next_line: int = 1


def judged(text: str) -> Judged:
    """Reads in strict mode, a line being what ends in LF."""
    lines = text.encode().split(b"\n")
    reader = csv.reader(_with_ends(text), strict=True)
    found = Judged()
    try:
        for cells in reader:
            raw = b"\n".join(lines[found.next_line - 1 : reader.line_num])
            if cells:
                found.rows.append(cells)
                found.sizes_bytes.append(len(raw))
            found.next_line = reader.line_num + 1
    except csv.Error as error:
        found.error = str(error)
    return found


def _with_ends(text: str) -> Iterator[str]:
    *lines, last = text.split("\n")
    yield from (line + "\n" for line in lines)
    if last:
        yield last


def _shown(row: Record | Result) -> tuple[str, str]:
    return (row.id, row.plaintext.decode()) if isinstance(row, Record) else ("", str(row.code))


def _expected(cells: list[str], seq: int) -> tuple[str, str]:
    if len(cells) != 2:
        return ("", "WrongCellCount")
    if not cells[1]:
        return ("", "EmptyPlaintext")
    return (cells[0] or str(seq), cells[1])


@settings(max_examples=500, deadline=None)
@given(text=TEXTS, places=PLACES)
@example(text='a,"b\r\nc"\r\r\nb,a\r\r\n\r\r\na,b', places=[])
@example(text='"a""","b,"\n""",""",a\n', places=[3, 4, 5])
def test_rows_are_those_of_the_csv_module(text: str, places: list[int]) -> None:
    judge = judged(text)
    found = outcome(csv_reader(), cut(HEADER + text.encode(), [13 + place for place in places]))
    expected = [_expected(cells, seq) for seq, cells in enumerate(judge.rows, 1)]
    # What the judge read before it gave up must be there; rows after a bad one are our own.
    assert [_shown(row) for row in found.rows][: len(expected)] == expected
    if judge.error is None:
        assert len(found.rows) == len(expected)
        assert found.error is None
    elif "unexpected end of data" in judge.error:
        # The header is one line more.
        assert isinstance(found.error, InputBroken)
        assert f"line {judge.next_line + 1}:" in found.error.message


@settings(max_examples=300, deadline=None)
@given(text=LONG_TEXTS, places=PLACES, longest=st.integers(12, 18))
def test_rows_over_the_cap_fail_alone(text: str, places: list[int], longest: int) -> None:
    judge = judged(text)
    data = HEADER + text.encode()
    found = outcome(csv_reader(longest=longest), cut(data, places))
    assert found.comparable() == outcome(csv_reader(longest=longest), [data]).comparable()
    if judge.error is None:
        too_long = [size > longest for size in judge.sizes_bytes]
        assert [code == "RowTooLong" for code in found.codes] == too_long
        assert found.error is None


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), places=PLACES)
def test_bytes_of_any_kind_never_crash_it(data: bytes, places: list[int]) -> None:
    whole = outcome(csv_reader(), [HEADER + data])
    assert outcome(csv_reader(), cut(HEADER + data, places)).comparable() == whole.comparable()


def test_a_row_over_the_cap_is_skipped_to_its_end_across_quoted_lines() -> None:
    long = 'long,"' + "\n".join(["x" * 30, 'y""z', "q" * 70]) + '"\n'
    data = HEADER + b"a,first\n" + long.encode() + b"b,last\n"
    for size in (1, 7, len(data)):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        first, second, third = outcome(csv_reader(longest=64), chunks).rows
        assert record(first).plaintext == b"first"
        assert failure(second).code == "RowTooLong"
        assert (failure(second).message or "").startswith("line 3: ")
        assert (record(third).seq, record(third).plaintext) == (3, b"last")


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    data = HEADER + b'\n"a","one\r\ntwo"\r\n\r\nb\nc,"d"e\n'
    rows = outcome(csv_reader(), [data]).rows
    assert [row.seq for row in rows] == [1, 2, 3]
    assert (failure(rows[1]).message or "").startswith("line 6: ")
    assert (failure(rows[2]).message or "").startswith("line 7: ")


def test_text_after_a_closing_quote_fails_its_row_alone() -> None:
    found = outcome(csv_reader(), [HEADER + b'a,"b"c\nd,e\n'])
    assert found.codes == ["InvalidCsvRow", None]


def test_it_still_does_where_an_earlier_cell_of_the_row_spans_lines() -> None:
    found = outcome(csv_reader(), [HEADER + b'"a\nb","c"d\ne,f\n'])
    assert found.error is None
    assert found.codes == ["InvalidCsvRow", None]


@pytest.mark.parametrize(
    "rest",
    [b'b,"never closed\nc,d\n', b'b,"', b'b,"open\nc,"d"\n', b'"b\n', b'"5","open\n"6","d"\n'],
)
def test_an_unclosed_quote_stops_after_the_rows_before_it(rest: bytes) -> None:
    data = HEADER + b"a,first\n" + rest
    for size in (1, len(data)):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        found = outcome(csv_reader(), chunks)
        assert record(only(found.rows)).plaintext == b"first"
        assert isinstance(found.error, InputBroken)
        assert "in.csv, line 3: " in found.error.message


def test_an_unclosed_quote_over_the_cap_still_stops() -> None:
    found = outcome(csv_reader(longest=20), [HEADER + b'a,"' + b"x" * 50 + b"\n" + b"y\n" * 50])
    assert isinstance(found.error, InputBroken)
    assert "line 2: " in found.error.message


def test_text_that_is_not_utf8_fails_its_row_alone() -> None:
    for bad in (b"a,\xff\n", b'a,"\xff"\n', b'"a\xe4",x\n'):
        found = outcome(csv_reader(), [HEADER + bad + "b,ä\n".encode()])
        assert found.codes == ["InvalidUtf8", None]


def test_rows_come_in_small_lots() -> None:
    lots = [len(rows) for rows in csv_reader().feed(HEADER + b"a,b\n" * 1_000)]
    assert lots == [256, 256, 256, 232]
