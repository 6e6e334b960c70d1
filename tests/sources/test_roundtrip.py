"""What a writer of the standard library wrote is what the readers give back, however it comes."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.given import csv_reader, cut, jsonl_reader, outcome, read
from tests.sources.inventory import COLUMNS, Quoting, Row, as_records, make_rows, to_csv, to_jsonl

ROWS = make_rows(2_000, seed=7)
BOM = b"\xef\xbb\xbf"

_PLACES = st.lists(st.integers(0, 6_000), max_size=12)
_TEXT = st.text(st.sampled_from('aé",\r\n\t\\ ='), min_size=1, max_size=12)
_WRITTEN = st.lists(
    st.builds(Row, id=st.just("") | _TEXT, plaintext=_TEXT, owner=_TEXT), max_size=6
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_jsonl_gives_back_what_was_written(line_end: str, ascii_only: bool) -> None:
    data = to_jsonl(ROWS, line_end=line_end, ascii_only=ascii_only)
    assert outcome(jsonl_reader(), [data]).rows == as_records(ROWS)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_csv_gives_back_what_was_written(line_end: str, quoting: Quoting) -> None:
    data = to_csv(ROWS, quoting=quoting, line_end=line_end)
    assert outcome(csv_reader(), [data]).rows == as_records(ROWS)


@pytest.mark.parametrize(
    "columns",
    [
        COLUMNS[::-1],
        ("encryption_context", "id", "owner", "plaintext"),
        ("plaintext", "encryption_context", "id"),
    ],
)
def test_csv_columns_may_come_in_any_order(columns: tuple[str, ...]) -> None:
    data = to_csv(ROWS, columns=columns)
    assert outcome(csv_reader(), [data]).rows == as_records(ROWS)


def test_a_last_line_needs_no_line_end() -> None:
    rows = [Row("a", "first"), Row("b", 'se"cond')]
    assert outcome(jsonl_reader(), [to_jsonl(rows).removesuffix(b"\n")]).rows == as_records(rows)
    assert outcome(csv_reader(), [to_csv(rows).removesuffix(b"\r\n")]).rows == as_records(rows)


@settings(max_examples=100, deadline=None)
@given(first=st.integers(0, len(ROWS) - 8), places=_PLACES)
def test_jsonl_rows_do_not_depend_on_the_chunks(first: int, places: list[int]) -> None:
    rows = ROWS[first : first + 8]
    assert outcome(jsonl_reader(), cut(to_jsonl(rows), places)).rows == as_records(rows)


@settings(max_examples=100, deadline=None)
@given(
    first=st.integers(0, len(ROWS) - 8),
    places=_PLACES,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_rows_do_not_depend_on_the_chunks(
    first: int, places: list[int], quoting: Quoting
) -> None:
    rows = ROWS[first : first + 8]
    assert outcome(csv_reader(), cut(to_csv(rows, quoting=quoting), places)).rows == as_records(
        rows
    )


@settings(max_examples=150, deadline=None)
@given(rows=_WRITTEN, line_end=st.sampled_from(["\n", "\r\n"]), places=_PLACES)
def test_csv_gives_back_any_text(rows: list[Row], line_end: str, places: list[int]) -> None:
    data = to_csv(rows, line_end=line_end)
    assert outcome(csv_reader(), cut(data, places)).rows == as_records(rows)


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "csv", "jsonl.gz", "csv.gz", "CSV.GZ"])
@pytest.mark.parametrize("bom", [b"", BOM])
async def test_files_give_back_what_was_written(tmp_path: Path, suffix: str, bom: bytes) -> None:
    data = bom + (to_csv(ROWS) if "csv" in suffix.lower() else to_jsonl(ROWS))
    path = tmp_path / f"in.{suffix}"
    path.write_bytes(gzip.compress(data, 1) if suffix.lower().endswith("gz") else data)
    assert (await read(str(path))).rows == as_records(ROWS)
