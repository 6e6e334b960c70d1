"""Damage in a result file takes away the rows that it hits, and none behind them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.records import BASE_COLUMNS, Result
from batchkms.runs.resultfile import BadResultFile, read_good_rows, read_row, sink_of_file
from batchkms.sinks import sink_of
from batchkms.sinks.base import Sink

ROWS = 30
FORMATS = ("jsonl", "csv")


def _written(sink: Sink) -> list[bytes]:
    return sink.encode(
        Result(
            seq=seq,
            id=f"two\r\nlines {seq}" if seq % 5 == 0 else f"=row {seq}",
            status="ok",
            ciphertext=f"blob-{seq}",
            encryption_context='{"a":"b"}' if seq % 2 else None,
            attempts=1,
        )
        for seq in range(1, ROWS + 1)
    )


def _read(data: bytes, sink: Sink) -> tuple[list[int], list[int]]:
    """The numbers of the rows that are good, and the lines of what is not."""
    good: list[int] = []
    bad: list[int] = []
    for offset, row in read_good_rows(io.BytesIO(data), sink):
        if isinstance(row, BadResultFile):
            assert data[:offset].count(b"\n") + 1 == row.line
            bad.append(row.line)
        else:
            good.append(row.result.seq)
            assert data.startswith(row.raw, offset)
            assert read_row(io.BytesIO(data), sink, offset) == row.result
    return good, bad


def _but(*seqs: int) -> list[int]:
    return [seq for seq in range(1, ROWS + 1) if seq not in seqs]


@pytest.mark.parametrize("format", FORMATS)
def test_every_row_is_read_with_where_it_begins(format: str) -> None:
    sink = sink_of(format)
    assert _read(sink.header() + b"".join(_written(sink)), sink) == (_but(), [])


@pytest.mark.parametrize("format", FORMATS)
@given(torn=st.sets(st.integers(1, ROWS), max_size=4), cut=st.integers(1, 20))
def test_torn_rows_are_told_and_the_others_read(format: str, torn: set[int], cut: int) -> None:
    sink = sink_of(format)
    end = b"\n" if format == "jsonl" else b"\r\n"
    rows = [
        row[:cut].rstrip(b"\r\n").replace(b'"', b"") + end if seq in torn else row
        for seq, row in enumerate(_written(sink), start=1)
    ]
    good, bad = _read(sink.header() + b"".join(rows), sink)
    assert good == _but(*torn)
    assert len(bad) >= len(torn)


@pytest.mark.parametrize("lost", [1, 4, ROWS - 1, ROWS])
def test_a_quote_too_many_takes_no_other_row_with_it(lost: int) -> None:
    sink = sink_of("csv")
    rows = _written(sink)
    rows[lost - 1] = rows[lost - 1].replace(b"ok,", b'"k,')
    good, _ = _read(sink.header() + b"".join(rows), sink)
    assert good == _but(lost)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_ends_in_a_row_says_so(format: str) -> None:
    sink = sink_of(format)
    data = (sink.header() + b"".join(_written(sink)))[:-7]
    *_, (_, last) = read_good_rows(io.BytesIO(data), sink)
    assert isinstance(last, BadResultFile)
    assert last.torn
    assert _read(data, sink)[0] == _but(ROWS)


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_to_their_end(format: str, data: bytes) -> None:
    sink = sink_of(format)
    _read(sink.header() + b"".join(_written(sink)[:2]) + data, sink)


@pytest.mark.parametrize("columns", [("ciphertext",), ("key_id",), ("team", "team")])
def test_a_header_with_a_column_twice_is_of_no_result_file(columns: tuple[str, ...]) -> None:
    header = ",".join((*BASE_COLUMNS, *columns)).encode() + b"\r\n"
    with pytest.raises(BadResultFile, match=f"the column '{columns[-1]}' is there twice"):
        sink_of_file(io.BytesIO(header), "csv")
    with pytest.raises(BadResultFile, match="is there twice"):
        list(read_good_rows(io.BytesIO(header), sink_of("csv", columns)))


class _Counting(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.taken += len(line)
        return line


@pytest.mark.parametrize("row", [b"a,b\n", b'"\n', b'a,"\r\n', b'"",b\n'])
def test_lines_that_are_none_of_ours_are_read_in_linear_time(row: bytes) -> None:
    sink = sink_of("csv")
    data = sink.header() + row * 20_000 + _written(sink)[0]
    file = _Counting(data)
    *_, (_, last) = read_good_rows(file, sink)
    assert not isinstance(last, BadResultFile)
    assert file.taken < 5 * len(data)
