"""Percentile files: what HdrHistogram's plotter reads, with the figures of the summary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.latency import LONGEST_US, Latencies
from batchkms.loadtest.hgrm import hgrm_text, send_path, write_hgrm

# As the plotter of HdrHistogram splits it: columns by white space, lines with # passed over.
_LINE = re.compile(r"\s*([0-9.]+)\s+([0-9.]+)\s+([0-9]+)(?:\s+([0-9.]+))?")


def _latencies(values_ms: list[float]) -> Latencies:
    made = Latencies()
    for value in values_ms:
        made.count(value / 1000)
    return made


def _rows(text: str) -> list[tuple[float, float, int]]:
    lines = text.splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert lines[1] == ""
    rows = []
    for line in lines[2:-3]:
        match = _LINE.fullmatch(line)
        assert match is not None, line
        rows.append((float(match[1]), float(match[2]), int(match[3])))
        if match[4] is not None:
            assert float(match[4]) == pytest.approx(1 / (1 - float(match[2])), abs=0.01, rel=0.001)
    return rows


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0.01, 20_000), min_size=1, max_size=50))
def test_values_and_counts_rise_to_the_largest(values_ms: list[float]) -> None:
    latencies = _latencies(values_ms)
    rows = _rows(hgrm_text(latencies))
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert rows[-1][0] == pytest.approx(latencies.max_ms, abs=0.001)
    assert rows[-1][1:] == (1.0, len(values_ms))
    assert rows[0][1] == 0


def test_the_values_are_those_of_hdr_histogram() -> None:
    values_us = [number * number for number in range(1, 301)]
    judge = HdrHistogram(1, LONGEST_US, 3)
    for value in values_us:
        judge.record_value(value)
    rows = _rows(hgrm_text(_latencies([value / 1000 for value in values_us])))
    assert len(rows) > 30
    for value_ms, share, count in rows:
        # At the turn from one value to the next, rounding may take either.
        near = [judge.get_value_at_percentile(share * 100 + by) / 1000 for by in (-0.2, 0, 0.2)]
        assert min(near) * 0.999 <= value_ms <= max(near) * 1.001
        assert count == sum(1 for each in values_us if each <= value_ms * 1001)


def test_percentiles_are_those_of_the_summary() -> None:
    latencies = _latencies([float(ms) for ms in range(1, 1_001)])
    for value, share, _ in _rows(hgrm_text(latencies)):
        if 0 < share < 1:
            assert value == pytest.approx(latencies.percentile_ms(share * 100), rel=0.002)


def test_the_footer_is_in_milliseconds() -> None:
    footer = hgrm_text(_latencies([10.0, 20.0, 30.0])).splitlines()[-3:]
    numbers = [re.findall(r"= +([0-9.]+)", line) for line in footer]
    assert [float(number) for number in numbers[0]] == pytest.approx([20.0, 8.165], rel=0.001)
    assert numbers[1] == ["30.000", "3"]
    assert all(line.startswith("#[") and line.endswith("]") for line in footer)


def test_nothing_counted_is_a_file_without_lines() -> None:
    text = hgrm_text(Latencies())
    assert _rows(text) == []
    assert text.isascii()


def test_two_files_are_written(tmp_path: Path) -> None:
    path = tmp_path / "run.hgrm"
    written = write_hgrm(path, from_schedule=_latencies([20.0]), from_send=_latencies([10.0]))
    assert written == (path, tmp_path / "run.send.hgrm")
    assert [_rows(each.read_text())[-1][0] for each in written] == [20.0, 10.0]


@pytest.mark.parametrize(
    ("name", "beside"),
    [("a.hgrm", "a.send.hgrm"), ("a", "a.send"), ("a.b.hgrm", "a.b.send.hgrm")],
)
def test_the_name_of_the_second_file(name: str, beside: str) -> None:
    assert send_path(Path("x") / name) == Path("x") / beside
