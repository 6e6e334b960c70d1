"""A census counts what is in a result file, and tells a torn end from damage."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from batchkms.checks import census as module
from batchkms.checks.census import Census, take_census
from batchkms.errors import ConfigError, InputError
from batchkms.records import ErrorClass, Result
from batchkms.rowset import RowSet
from batchkms.sinks import open_sink

COLUMNS = ("source_key_id", "reencrypted", "mode", "data_key", "plaintext", "encoding")


def row(seq: int, **changes: Any) -> Result:
    """A row that is ok."""
    return Result(
        **{
            **{"seq": seq, "id": f"id-{seq}", "status": "ok", "key_id": "k-1", "attempts": 1},
            **{"ciphertext": "A" * 100, "encryption_context": '{"a":"b"}'},
            **changes,
        }
    )


def failure(seq: int, code: str = "InternalError") -> Result:
    """A row that failed."""
    return Result(
        seq=seq, id="x", status="failed", error_class=ErrorClass.INTERNAL, code=code, attempts=8
    )


ROWS = [
    row(3),
    row(4, key_id="k-2", encryption_context=None),
    row(5, mode="envelope", data_key="d-1"),
    row(6, mode="envelope", data_key="d-1"),
    row(9, reencrypted=True, source_key_id="k-0"),
    row(10, reencrypted=False),
    row(12, ciphertext=None, plaintext="canary-plaintext", encoding="utf8"),
    row(3),
    failure(20),
    failure(21, "RequestLimitExceeded"),
]


def written(folder: Path, name: str, rows: list[Result]) -> Path:
    sink = open_sink(name.removesuffix(".partial"), columns=COLUMNS)
    path = folder / name
    path.write_bytes(sink.header() + b"".join(sink.encode(rows)))
    return path


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.csv.partial"])
def test_every_kind_of_row_is_counted(tmp_path: Path, name: str) -> None:
    census = take_census(str(written(tmp_path, name, ROWS)))
    told = census.as_json()
    assert (told["rows"], told["ok"], told["failed"]) == (10, 8, 2)
    assert told["by_class"] == {"internal": 2}
    assert told["by_code"] == {"InternalError": 1, "RequestLimitExceeded": 1}
    assert told["by_key"] == {"k-1": 7, "k-2": 1}
    assert told["by_context"] == {'{"a":"b"}': 7, "none": 1}
    assert told["contexts"] == 1
    assert told["by_mode"] == {"direct": 5, "envelope": 2, "plaintext": 1}
    assert (told["data_keys"], told["reencrypted"], told["unchanged"]) == (1, 1, 1)
    assert told["ciphertext_bytes"] == 700
    assert (told["seq"], told["missing"], told["repeated"]) == ((3, 21), 10, 1)
    assert told["gaps"] == [(7, 8), (11, 11), (13, 19)]
    assert (told["torn_line"], told["damaged"], told["exit_code"]) == (None, None, 0)
    assert "canary" not in json.dumps(told) + "".join(census.as_text())


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_torn_last_row_is_damage_unless_the_run_may_go_on(tmp_path: Path, format: str) -> None:
    for name in (f"out.{format}.partial", f"out.{format}"):
        path = written(tmp_path, name, ROWS[:4])
        path.write_bytes(path.read_bytes()[:-9])
        census = take_census(str(path))
        line = 4 if format == "jsonl" else 5
        assert census.rows == 3
        if name.endswith(".partial"):
            assert (census.torn, census.damaged, int(census.exit_code)) == (line, None, 0)
            assert f"note: line {line}: the last row is torn" in "\n".join(census.as_text())
        else:
            assert (census.torn, int(census.exit_code)) == (None, 6)
            assert census.damaged is not None
            assert census.damaged.startswith(f"line {line}: the last row is torn")


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_damage_is_told_with_its_line(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, f"out.{format}.partial", ROWS[:6])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"seq": "canary"}\r\n'
    path.write_bytes(b"".join(lines))
    census = take_census(str(path))
    assert int(census.exit_code) == 6
    assert "damaged: line 4: this is no row that a run writes" in census.as_text()[-1]
    assert "canary" not in "".join(census.as_text())


def test_what_is_no_result_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,plaintext\r\na,canary\r\n")
    with pytest.raises(InputError, match="is no result file: line 1") as caught:
        take_census(str(path))
    assert "canary" not in str(caught.value)
    (tmp_path / "in.jsonl").write_text('{"id":"a","plaintext":"canary"}\n')
    with pytest.raises(InputError, match="is no result file"):
        take_census(str(tmp_path / "in.jsonl"))
    with pytest.raises(InputError, match="No such file"):
        take_census(str(tmp_path / "gone.csv"))
    with pytest.raises(ConfigError, match="not stdin"):
        take_census("-")
    with pytest.raises(ConfigError, match="does not tell its format"):
        take_census(str(tmp_path / "out.txt"))
    assert take_census(str(written(tmp_path, "out.csv", [])), format="csv").exit_code == 5


def test_of_a_run_that_has_not_ended_the_partial_file_is_named(tmp_path: Path) -> None:
    written(tmp_path, "out.csv.partial", ROWS)
    with pytest.raises(InputError) as caught:
        take_census(str(tmp_path / "out.csv"))
    assert caught.value.hint == f"the run has not ended: name {tmp_path / 'out.csv.partial'}"


def _counts(rows: int) -> dict[str, Any]:
    """What a manifest says of so many rows."""
    none = {"calls": 0, "retries": 0, "throttled": 0}
    return {"rows": rows, "ok": rows, "failed": 0, "by_class": {}, "by_key": {}, **none}


def test_a_manifest_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "out.csv", ROWS)
    manifest = tmp_path / "out.csv.run.json"
    manifest.write_text("{}")
    assert "is no manifest" in take_census(str(path)).notes[0]
    content: dict[str, Any] = {"format": 1, "command": "encrypt", "state": "finished"}
    content |= {"input": {"path": "in.csv", "format": "csv"}, "settings": {}}
    content |= {"output": {"path": "out.csv", "format": "csv"}, "counts": _counts(11)}
    manifest.write_text(json.dumps(content))
    census = take_census(str(path))
    assert census.manifest == {"command": "encrypt", "state": "finished"}
    assert "the manifest counts 11 rows: batchkms audit" in census.notes[0]
    content["counts"] = _counts(10)
    manifest.write_text(json.dumps(content))
    assert take_census(str(path)).notes == []


def test_different_values_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DISTINCT", 5)
    census = Census(path="out.csv")
    for seq in range(1, 11):
        census.count(row(seq, key_id=f"k-{seq}", encryption_context=f"c-{seq}", data_key=f"{seq}"))
    assert census.by_key["other keys"] == 5
    assert census.by_context["other contexts"] == 5
    assert census.data_keys == 5
    assert "5 or more" in "\n".join(census.as_text())


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 20_000):
        path = written(tmp_path, "out.jsonl", [row(seq) for seq in range(1, count + 1)])
        tracemalloc.start()
        take_census(str(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000


@pytest.mark.parametrize("seqs", [[1], [5, 6, 7], [1, 65_535, 65_536, 200_000], [70_000, 3]])
def test_gaps_and_bounds_of_a_set_of_rows(seqs: list[int]) -> None:
    rows = RowSet()
    for seq in seqs:
        rows.add(seq)
    assert rows.bounds() == (min(seqs), max(seqs))
    ordered = sorted(seqs)
    expected = [(a + 1, b - 1) for a, b in zip(ordered, ordered[1:], strict=False) if b > a + 1]
    assert rows.gaps(10) == expected
    assert rows.gaps(1) == expected[:1]


def test_full_stretches_have_no_gaps() -> None:
    rows = RowSet()
    for seq in range(1, 200_001):
        rows.add(seq)
    assert (rows.gaps(5), rows.bounds()) == ([], (1, 200_000))
    rows.add(300_000)
    assert rows.gaps(5) == [(200_001, 299_999)]
    assert RowSet().bounds() is None
