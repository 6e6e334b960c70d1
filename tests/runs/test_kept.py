"""What is kept of a partial output, wherever it was cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkms import rowset
from batchkms.errors import ConfigError
from batchkms.records import ErrorClass, Result
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.kept import DAMAGE_AT_END_BYTES, Kept, keep_partial
from batchkms.runs.resultfile import BadResultFile, read_results
from batchkms.sinks import sink_of
from batchkms.tally import Tally

FORMATS = ["jsonl", "csv"]


def _result(seq: int) -> Result:
    if seq % 3 == 0:
        return Result(
            seq=seq,
            id=f'=a "quoted", id\r\nin two lines {seq}',
            status="failed",
            error_class=ErrorClass.INTERNAL,
            code="InternalError",
            message="it failed, 失败",
            attempts=8,
        )
    context = '{"a":"b"}' if seq % 2 else None
    return Result(
        seq=seq,
        id=f"row-{seq}",
        status="ok",
        key_id="k",
        ciphertext="A/+=-k-AA==-k-AA==",
        encryption_context=context,
        attempts=1,
        latency_ms=1.25,
    )


def _rows(format: str, seqs: range) -> list[bytes]:
    return sink_of(format).encode([_result(seq) for seq in seqs])


def _kept(folder: Path, format: str, content: bytes) -> tuple[FileOutput, Kept, Tally]:
    output = FileOutput(folder / f"out.{format}", overwrite=False, fsync_interval_s=1.0)
    output.partial.write_bytes(content)
    tally = Tally()
    return output, keep_partial(output, sink_of(format), tally), tally


@pytest.mark.parametrize("format", FORMATS)
def test_a_cut_at_every_byte_keeps_the_whole_rows(tmp_path: Path, format: str) -> None:
    header, rows = sink_of(format).header(), _rows(format, range(1, 7))
    whole = header + b"".join(rows)
    ends = [len(header) + sum(map(len, rows[:count])) for count in range(len(rows) + 1)]
    for cut in range(len(whole) + 1):
        output, kept, tally = _kept(tmp_path, format, whole[:cut])
        count = sum(cut >= end for end in ends[1:])
        assert len(kept.rows) == tally.kept == tally.done == count
        expected = ends[count] if count or cut >= len(header) else 0
        assert output.size_bytes == output.partial.stat().st_size == expected
        assert kept.cut_bytes == cut - expected
        output.append(whole[expected:], b"")
        assert output.partial.read_bytes() == whole
        output.close()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("garbage", [b"\0" * 512, b"\0" * 90 + b"\r\n" * 40, b"{}\n", b'"'])
def test_what_a_power_failure_leaves_at_the_end_is_cut(
    tmp_path: Path, format: str, garbage: bytes
) -> None:
    whole = b"".join([sink_of(format).header(), *_rows(format, range(1, 7))])
    output, kept, _ = _kept(tmp_path, format, whole + garbage)
    assert len(kept.rows) == 6
    assert output.partial.read_bytes() == whole
    output.close()


@pytest.mark.parametrize("format", FORMATS)
def test_damage_far_from_the_end_is_refused_and_nothing_is_cut(tmp_path: Path, format: str) -> None:
    rows = _rows(format, range(2, 40_000))
    rows *= 1 + DAMAGE_AT_END_BYTES // sum(map(len, rows))
    good = b"".join([sink_of(format).header(), *_rows(format, range(1, 2))])
    content = good + b"damaged\r\n" + b"".join(rows)
    with pytest.raises(ConfigError, match="no row that a run writes"):
        _kept(tmp_path, format, content)
    assert (tmp_path / f"out.{format}.partial").stat().st_size == len(content)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("line", [0, 2])
def test_a_line_that_somebody_changed_costs_no_good_rows(
    tmp_path: Path, format: str, line: int
) -> None:
    rows = [sink_of(format).header(), *_rows(format, range(1, 30))]
    if format == "jsonl":
        rows = rows[1:]
    rows[line] = b"[" + rows[line][1:]
    with pytest.raises(ConfigError, match="no row that a run writes|not begin with the columns"):
        _kept(tmp_path, format, b"".join(rows))
    assert (tmp_path / f"out.{format}.partial").read_bytes() == b"".join(rows)


def test_a_row_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    rows = _rows("jsonl", range(1, 4))
    with pytest.raises(ConfigError, match="row 1 has a result already"):
        _kept(tmp_path, "jsonl", b"".join([*rows, rows[0]]))


@pytest.mark.parametrize("format", FORMATS)
def test_every_row_is_read_as_it_was_written(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    rows = _rows(format, range(1, 50))
    path.write_bytes(b"".join([sink_of(format).header(), *rows]))
    with path.open("rb") as file:
        read = list(read_results(file, sink_of(format)))
    assert [row.raw for row in read] == rows
    assert [row.result for row in read] == [_result(seq) for seq in range(1, 50)]


def test_a_file_of_another_kind_is_no_result_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"id,plaintext\r\na,b\r\n")
    with path.open("rb") as file, pytest.raises(BadResultFile) as caught:
        list(read_results(file, sink_of("csv")))
    assert not caught.value.torn


def test_rows_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowset, "MOST_CHUNKS", 3)
    rows = _rows("jsonl", range(1, 10**6, 10**5))
    with pytest.raises(ConfigError, match="line 4: row 300001: .* too far apart") as refused:
        _kept(tmp_path, "jsonl", b"".join(rows))
    assert refused.value.hint
