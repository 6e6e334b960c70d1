"""The calls of a load test on their way to a file, on a real file system."""

from __future__ import annotations

import gzip
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchkms.errors import ConfigError, OutputError
from batchkms.loadtest import results
from batchkms.loadtest.call import Call
from batchkms.loadtest.reading import read_calls, read_record
from batchkms.loadtest.results import CallFile
from tests.loadtest.samples import calls, record, written

ONE = Call(0.1 + 0.2, None, 1.0000004999, "encrypt", "network", 0, "NeverSent")


async def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    file = CallFile(path, overwrite=False)
    file.begin()
    file.write(ONE)
    await file.flush()
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl.partial"]
    assert stat.S_IMODE(file.partial.stat().st_mode) == 0o600
    # Every line is there as soon as it was flushed, and times are in whole microseconds.
    assert file.partial.read_bytes() == (
        b'{"scheduled":0.3,"sent":null,"done":1.0,"action":"encrypt","class":"network",'
        b'"bytes":0,"code":"NeverSent"}\n'
    )
    await file.complete(record(calls=1))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.run.json"]
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in tmp_path.iterdir())
    assert read_record(path) == record(calls=1)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
async def test_what_is_read_is_what_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    file = CallFile(path, overwrite=False)
    file.begin()
    made = list(calls(500))
    for number, call in enumerate(made):
        file.write(call)
        if number % 100 == 0:
            await file.flush()
    await file.complete(record())
    back = list(read_calls(path))
    assert [call.request_id for call in back] == [call.request_id for call in made]
    for one, other in zip(back, made, strict=True):
        assert one.done == pytest.approx(other.done, abs=5.1e-7)
        assert one.scheduled == round(other.scheduled, 6)
    # Other programs read it too, members one after the other and all.
    if name.endswith(".gz"):
        assert gzip.decompress(path.read_bytes()).count(b"\n") == 500


async def test_a_gzipped_file_without_any_call_is_one(tmp_path: Path) -> None:
    path = await written(tmp_path / "out.jsonl.gz", [], record(calls=0))
    assert gzip.decompress(path.read_bytes()) == b""
    assert list(read_calls(path)) == []


async def test_an_interrupted_test_is_published_with_its_state(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    file = CallFile(path, overwrite=False)
    file.begin()
    file.write(ONE)
    await file.abandon(record(state="interrupted"))
    noted = read_record(path)
    assert noted is not None and noted.state == "interrupted"
    assert len(list(read_calls(path))) == 1


async def test_without_a_record_the_partial_file_stays(tmp_path: Path) -> None:
    partial = await written(tmp_path / "out.jsonl", calls(10), None)
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl.partial"]
    assert len(list(read_calls(partial))) == 10
    assert read_record(partial) is None
    with pytest.raises(ConfigError, match=r"out\.jsonl\.partial exists already"):
        CallFile(tmp_path / "out.jsonl", overwrite=False)


async def test_a_partial_file_without_any_call_is_not_left_behind(tmp_path: Path) -> None:
    await written(tmp_path / "out.jsonl", [], None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.run.json"])
def test_an_old_file_is_never_replaced_by_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(ConfigError, match="exists already") as refused:
        CallFile(tmp_path / "out.jsonl", overwrite=False)
    assert "--overwrite" in (refused.value.hint or "")


async def test_overwrite_replaces_all_of_them_and_leaves_no_old_record(tmp_path: Path) -> None:
    path = await written(tmp_path / "out.jsonl", calls(10), record(calls=10))
    (tmp_path / "out.jsonl.partial").write_text("of a test that was killed")
    (tmp_path / "out.jsonl.partial").chmod(0o600)
    file = CallFile(path, overwrite=True)
    file.begin()
    file.write(ONE)
    await file.complete(record(calls=1))
    assert len(list(read_calls(path))) == 1
    assert read_record(path) == record(calls=1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.run.json"]


def test_a_file_that_another_test_writes_is_refused(tmp_path: Path) -> None:
    first = CallFile(tmp_path / "out.jsonl", overwrite=True)
    second = CallFile(tmp_path / "out.jsonl", overwrite=True)
    first.begin()
    with pytest.raises(ConfigError, match="another run is writing"):
        second.begin()
    third = CallFile(tmp_path / "out.jsonl", overwrite=True)
    with pytest.raises(ConfigError, match="another run is writing"):
        third.begin()


def test_an_input_a_link_a_folder_and_no_folder_are_refused(tmp_path: Path) -> None:
    given = tmp_path / "rows.jsonl"
    given.write_text("{}\n")
    with pytest.raises(ConfigError, match="is the input itself"):
        CallFile(given, overwrite=True, inputs=[given])
    (tmp_path / "link").symlink_to(given)
    with pytest.raises(ConfigError, match="symbolic link"):
        CallFile(tmp_path / "link", overwrite=True)
    with pytest.raises(ConfigError, match="is a folder"):
        CallFile(tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="there is no folder"):
        CallFile(tmp_path / "none" / "out.jsonl", overwrite=True)
    assert given.read_text() == "{}\n"


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
async def test_a_full_disk_stops_the_test_and_leaves_whole_lines(tmp_path: Path, name: str) -> None:
    file = CallFile(tmp_path / name, overwrite=False)
    file.begin()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large") as stopped:
            for number, call in enumerate(calls(20_000)):
                file.write(call)
                if number % 50 == 49:
                    await file.flush()
        assert str(file.partial) in (stopped.value.hint or "")
        with pytest.raises(OutputError, match="File too large"):
            await file.flush()
        # Even with a record it is not passed off as a whole one.
        await file.abandon(record())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [each.name for each in tmp_path.iterdir()] == [f"{name}.partial"]
    kept = len(list(read_calls(file.partial)))
    assert kept >= 50 and kept % 50 == 0


async def test_a_disk_that_is_too_slow_stops_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_WAITING_BYTES", 1000)
    file = CallFile(tmp_path / "out.jsonl", overwrite=False)
    file.begin()
    with pytest.raises(OutputError, match="as fast as calls end"):
        for call in calls(50):
            file.write(call)
    await file.abandon(None)


async def test_a_file_that_came_to_be_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    file = CallFile(path, overwrite=False)
    file.begin()
    file.write(ONE)
    path.write_text("of another program")
    with pytest.raises(OutputError, match="made that file since"):
        await file.complete(record())
    assert path.read_text() == "of another program"
    assert len(list(read_calls(file.partial))) == 1


def test_stdout_gets_the_same_lines(tmp_path: Path) -> None:
    script = (
        "import asyncio\n"
        "from batchkms.loadtest.results import CallFile\n"
        "from tests.loadtest.samples import calls, record\n"
        "async def main():\n"
        "    file = CallFile('-', overwrite=False)\n"
        "    file.begin()\n"
        "    for call in calls(100): file.write(call)\n"
        "    await file.complete(record())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=60
    )
    (tmp_path / "out.jsonl").write_bytes(done.stdout)
    assert len(list(read_calls(tmp_path / "out.jsonl"))) == 100
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl"]


def test_taking_a_call_costs_few_microseconds(tmp_path: Path) -> None:
    file = CallFile(tmp_path / "out.jsonl", overwrite=False)
    made = list(calls(20_000))
    begun = time.process_time()
    for call in made:
        file.write(call)
    # At 25,000 calls/s, 2 µs are 5% of a core; the bound is one for a busy machine.
    assert (time.process_time() - begun) / len(made) < 12e-6
