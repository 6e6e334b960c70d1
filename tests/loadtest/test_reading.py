"""Results files are read back strictly: whatever no load test writes is named with its line."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchkms.cli.kinds import kind_of
from batchkms.errors import ConfigError, InputError
from batchkms.loadtest.reading import MOST_RECORD_BYTES, read_calls, read_record
from batchkms.runs.manifest import Manifest
from tests.loadtest.samples import calls, record, written

GOOD = b'{"scheduled":0.5,"sent":0.5,"done":0.51,"action":"encrypt","class":"ok","bytes":9}\n'


def _line(**changes: Any) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (_line(done=float("nan")), "a number that is none"),
        (_line(done=float("inf")), "a number that is none"),
        (b'{"scheduled":1e999}\n', "not a call"),
        (_line(scheduled=-0.1), "a time is negative"),
        (_line(sent=-1.0), "a time is negative"),
        (_line(sent=0.52), "done before it was due or sent"),
        (_line(done=0.49, sent=None), "done before it was due or sent"),
        (_line(done=1e12), "years after"),
        (_line(**{"class": "great"}), "class is unknown"),
        (_line(bytes=-1), "cannot be so few"),
        (_line(attempts=0), "cannot be so few"),
        (_line(bytes="9"), "not a call"),
        (b"\n", "not a call"),
        (b"\xff\n", "not a call"),
        (b"[" * 50_000 + b"\n", "not a call"),
        (b'{"scheduled":' + b" " * 70_000 + b"1}\n", "longer than any"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(GOOD * 2 + line + GOOD)
    with pytest.raises(InputError, match=rf"out\.jsonl: line 3: .*{reason}") as refused:
        list(read_calls(path))
    assert refused.value.hint


def test_results_of_a_batch_run_are_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"seq":1,"id":"a","status":"ok","ciphertext":"secret","attempts":1}\n')
    with pytest.raises(InputError, match="line 1: it is a row of a batch run") as refused:
        list(read_calls(path))
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_more_actions_than_there_are_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"".join(_line(action=f"a{number}") for number in range(100)))
    with pytest.raises(InputError, match="line 65: more than 64 different actions"):
        list(read_calls(path))


def test_a_torn_last_line_is_named_and_one_without_its_line_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.partial"
    path.write_bytes(GOOD + GOOD.rstrip())
    assert len(list(read_calls(path))) == 2
    path.write_bytes(GOOD + GOOD[:40])
    with pytest.raises(InputError, match="line 2: the file ends in the middle"):
        list(read_calls(path))


def test_a_gzip_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.gz"
    # Its suffix does not matter: who unpacks a file does not always rename it.
    path.write_bytes(GOOD * 3)
    assert len(list(read_calls(path))) == 3
    path.write_bytes(gzip.compress(GOOD) + gzip.compress(GOOD * 3)[:-6])
    with pytest.raises(InputError, match=r"the gzip data is cut off, behind line \d") as refused:
        list(read_calls(path))
    assert "gzip -cd" in (refused.value.hint or "")


def test_a_file_that_is_not_there_names_the_partial_one(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial").write_bytes(GOOD)
    with pytest.raises(InputError, match="cannot be read") as refused:
        list(read_calls(tmp_path / "out.jsonl"))
    assert "out.jsonl.partial" in (refused.value.hint or "")


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = await written(tmp_path / "out.jsonl.gz", calls(30_000), record())
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_calls(path)) == 30_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "another"},
        {"state": "gone"},
        {"started_at": -1.0},
        {"started_at": 1e300},
        {"stages": [{"duration_s": 0, "from_rate": 1, "to_rate": 1}]},
        {"stages": [{"duration_s": 1, "from_rate": -1, "to_rate": 1}]},
        {"calls": -1},
        {"target_rate": "fast"},
        {"generator": {}},
    ],
)
async def test_a_record_that_is_none_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = await written(tmp_path / "out.jsonl", calls(1), record())
    assert read_record(path) == record()
    beside = tmp_path / "out.jsonl.run.json"
    beside.write_text(json.dumps({**json.loads(beside.read_bytes()), **changes}))
    with pytest.raises(InputError, match=r"run\.json is no record of a load test"):
        read_record(path)


def test_a_record_with_more_in_it_is_read(tmp_path: Path) -> None:
    import msgspec

    content = {**msgspec.to_builtins(record()), "of_a_later_version": [1, 2]}
    (tmp_path / "out.jsonl.run.json").write_text(json.dumps(content))
    assert read_record(tmp_path / "out.jsonl") == record()
    (tmp_path / "out.jsonl.run.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="no record of a load test"):
        read_record(tmp_path / "out.jsonl")


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": {"a": _nested(600)}}, "nested too deeply"),
        ({"max_rate": {"a": _nested(600)}}, "nested too deeply"),
        ({"settings": {"a": _nested(9)}}, "nested too deeply"),
        ({"settings": {str(number): 1 for number in range(1001)}}, "too many settings"),
        ({"settings": {"a": 10**400}}, "too large"),
        ({"max_rate": {"rate": None, "limited_by": 5}}, r"str.*limited_by"),
        ({"max_rate": {"steps": [{"calls": "many"}]}}, r"steps\[0\]\.calls"),
        ({"max_rate": {"steps": {}}}, r"\$\.steps"),
    ],
)
def test_a_record_that_no_report_can_show_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    noted = {**json.loads(msgspec.json.encode(record())), **changes}
    (tmp_path / "out.jsonl.run.json").write_text(json.dumps(noted))
    with pytest.raises(InputError, match=rf"run\.json is no record .*{reason}"):
        read_record(tmp_path / "out.jsonl")


def test_a_record_that_is_no_file_or_too_long_is_refused(tmp_path: Path) -> None:
    where = tmp_path / "out.jsonl.run.json"
    (tmp_path / "out.jsonl").write_bytes(GOOD)
    os.mkfifo(where)
    for _ in range(2):
        with pytest.raises(InputError, match="it is no regular file"):
            read_record(tmp_path / "out.jsonl")
        with pytest.raises(ConfigError, match="it is no regular file"):
            Manifest.load(where)
        assert kind_of(str(tmp_path / "out.jsonl")) == "loadtest"
        where.unlink()
        where.symlink_to("/dev/zero")
    where.unlink()
    with where.open("wb") as file:
        file.truncate(MOST_RECORD_BYTES + 1)
    with pytest.raises(InputError, match="more than 16,777,216 bytes"):
        read_record(tmp_path / "out.jsonl")
