"""The manifest always parses, says how a run ended, and holds no secret."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import ConfigError, OutputError
from batchkms.records import Result, rejected
from batchkms.runs.fingerprint import HEAD_BYTES, Prefix, input_description
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.tally import Tally


def _begun(folder: Path) -> Manifest:
    manifest = Manifest(manifest_path(folder / "out.jsonl"))
    manifest.begin(
        command="encrypt",
        input={"path": "in.jsonl"},
        output={"path": "out.jsonl"},
        settings={"rate": 300},
    )
    return manifest


def _end(manifest: Manifest, tally: Tally) -> None:
    manifest.end(
        state="finished",
        exit_code=1,
        reason=None,
        tally=tally,
        prefix=Prefix(2, "c" * 64),
        input_sha256="a" * 64,
        output_sha256="b" * 64,
        output_bytes=123,
        output_rows=2,
    )


def _read(manifest: Manifest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(manifest.path.read_bytes())
    return content


def test_it_is_there_before_the_first_row(tmp_path: Path) -> None:
    content = _read(_begun(tmp_path))
    assert (content["format"], content["command"], content["state"]) == (1, "encrypt", "running")
    assert content["started_at"].endswith("Z")
    assert "exit_code" not in content


def test_it_ends_with_counts_and_digests(tmp_path: Path) -> None:
    manifest = _begun(tmp_path)
    tally = Tally()
    tally.rows = 2
    tally.count(Result(seq=1, id="a", status="ok", key_id="k", attempts=1, latency_ms=1.5))
    tally.count(rejected(2, "b", "EmptyPlaintext", "line 2: empty"))
    _end(manifest, tally)
    content = _read(manifest)
    assert (content["state"], content["exit_code"]) == ("finished", 1)
    assert content["counts"] == {
        **{"rows": 2, "ok": 1, "failed": 1, "calls": 0, "retries": 0, "throttled": 0},
        **{"by_class": {"invalid_record": 1}, "by_key": {"k": 1}},
    }
    read = {"rows": 2, "sha256": "c" * 64}
    assert content["input"] == {"path": "in.jsonl", "read": read, "sha256": "a" * 64}
    assert content["output"] == {
        "path": "out.jsonl",
        "sha256": "b" * 64,
        "size_bytes": 123,
        "rows": 2,
    }


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the manifest .* cannot be written"):
        _begun(tmp_path / "gone")
    (tmp_path / "here").mkdir()
    manifest = _begun(tmp_path / "here")
    manifest.path.unlink()
    manifest.path.parent.rmdir()
    with pytest.raises(OutputError, match=r"the manifest .* cannot be written"):
        _end(manifest, Tally())


def test_an_input_is_told_by_its_head(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(os.urandom(2 * HEAD_BYTES)))
    size_bytes = path.stat().st_size
    described = input_description(str(path), format="jsonl", size_bytes=size_bytes)
    head = path.read_bytes()[:HEAD_BYTES]
    assert described == {
        **{"path": str(path), "format": "jsonl", "size_bytes": size_bytes},
        "head_sha256": hashlib.sha256(head).hexdigest(),
    }


def test_a_pipe_has_no_head(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in ("-", str(fifo)):
        described = input_description(path, format="csv", size_bytes=None)
        assert described == {"path": path, "format": "csv"}


_WINDOW = {"t": 0, "calls": 7, "ok": 5, "failed": 0, "throttled": 2, "retries": 2}
_SEGMENT = {"started_at": "2026-01-01T00:00:00.000Z", "window_s": 2, "windows": [_WINDOW] * 2}


def test_a_timeline_is_read_as_it_was_written_with_a_window_a_line(tmp_path: Path) -> None:
    manifest = _begun(tmp_path)
    assert manifest.timeline == []
    assert "timeline" not in _read(manifest)
    manifest.note_timeline([_SEGMENT])
    manifest.progress(Prefix(2, "c" * 64))
    assert _read(manifest)["timeline"] == [_SEGMENT]
    lines = manifest.path.read_text().splitlines()
    assert [json.loads(line.strip(" ,")) for line in lines if '"t":' in line] == [_WINDOW] * 2
    manifest.content = _whole(tmp_path)
    loaded = Manifest.load(manifest.path)
    assert loaded is not None
    assert loaded.timeline == [_SEGMENT]


def _whole(folder: Path) -> dict[str, Any]:
    """The content of a manifest with all that is read of one."""
    manifest = Manifest(manifest_path(folder / "out.jsonl"))
    manifest.begin(
        command="encrypt",
        input={"path": "in.jsonl", "format": "jsonl", "size_bytes": 9},
        output={"path": "out.jsonl", "format": "jsonl", "columns": ["note"]},
        settings={"rate": 300, "limit": 5, "keep": ["note"]},
    )
    manifest.note_timeline([_SEGMENT])
    _end(manifest, Tally())
    manifest.retry(sha256="b" * 64, classes=["network"], kept_rows=1)
    return _read(manifest)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *(("output.columns", value) for value in (5, [1, None], "note", {"note": 1})),
        *(("output.format", value) for value in (None, "xml", 5, ["csv"])),
        *(("input", []), ("input.path", 7), ("input.read", [1]), ("input.read.rows", "2")),
        *(("input.format", None), ("input.size_bytes", "9"), ("input.sha256", 1)),
        *(("settings", []), ("settings.limit", "5"), ("settings.limit", True)),
        *(("settings.keep", [1]), ("settings.rate", {"a": 1})),
        *(("command", 5), ("command", "shred"), ("state", None), ("exit_code", "1")),
        *(("counts", 1), ("counts.rows", "1"), ("counts.by_key", []), ("ended_at", 5)),
        *(("retrying", 5), ("retrying", {}), ("retried", 5), ("retried", [{"classes": 5}])),
        *(("timeline", 5), ("timeline", None), ("timeline", [1]), ("timeline", [{}])),
        ("timeline", [{**_SEGMENT, "window_s": 0}]),
        ("timeline", [{**_SEGMENT, "windows": [{"t": 0}]}]),
        ("timeline", [{**_SEGMENT, "windows": [{**_WINDOW, "t": -1}]}]),
        ("timeline", [{**_SEGMENT, "windows": [{**_WINDOW, "ok": "5"}]}]),
        *(("resumed", 5), ("changed", "a"), ("in_place", 5), ("in_place", {"rows": "1"})),
    ],
    ids=str,
)
def test_one_that_was_changed_by_hand_is_told_as_none(
    tmp_path: Path, where: str, value: object
) -> None:
    content = _whole(tmp_path)
    path = manifest_path(tmp_path / "out.jsonl")
    assert Manifest.load(path) is not None
    *parents, name = where.split(".")
    inner = content
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="is no manifest") as told:
        Manifest.load(path)
    assert "--overwrite" in str(told.value.hint)


@pytest.mark.parametrize("name", ["format", "command", "input", "more"])
@pytest.mark.parametrize("depth", [600, 1_010, 5_000])
def test_one_that_is_nested_too_deeply_is_none(tmp_path: Path, name: str, depth: int) -> None:
    path = _begun(tmp_path).path
    content = {**_read(Manifest(path)), name: "DEEP"}
    deep = '{"a":' * depth + "1" + "}" * depth
    path.write_text(json.dumps(content).replace('"DEEP"', deep))
    with pytest.raises(ConfigError):
        Manifest.load(path)
