"""Outputs that are not every share of one run are refused, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from batchkms.errors import BatchKmsError, ConfigError
from batchkms.runs.manifest import manifest_path
from batchkms.runs.shares import NotAsLeft, read_shares
from tests.runs.dealt import dealt


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest of an output."""
    manifest = manifest_path(path)
    content = orjson.loads(manifest.read_bytes())
    change(content)
    manifest.write_bytes(orjson.dumps(content))


def _set(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """What sets one value of a manifest, whose place is written with dots."""
    *tables, name = path.split(".")

    def change(content: dict[str, Any]) -> None:
        for table in tables:
            content = content[table]
        content[name] = value

    return change


def test_shares_come_in_their_order(tmp_path: Path) -> None:
    one, two, three = dealt(tmp_path, 3, range(1, 8))
    shares = read_shares([three, one, two])
    assert [(share.path, share.rows) for share in shares] == [(one, 3), (two, 2), (three, 2)]


def test_a_single_share_is_all_of_it(tmp_path: Path) -> None:
    assert len(read_shares(dealt(tmp_path, 1, range(1, 4)))) == 1


@pytest.mark.parametrize(
    ("change", "told", "hint"),
    [
        (_set("command", "reencrypt"), "the command is encrypt in the one and reencrypt", "again"),
        (_set("settings.key_id", "other"), "the --key-id is k in the one and other in", "again"),
        (_set("settings.mode", "envelope"), "the --mode is not given in the one and env", "again"),
        (_set("settings.limit", 7), "the --limit is not given in the one and 7 in the", "again"),
        (_set("input.sha256", "2" * 64), "the input's sha256 is 1111", "again"),
        (_set("input.format", "csv"), "the input's format is jsonl in the one", "again"),
        (_set("output.format", "csv"), "the output format is jsonl in the one and csv", "again"),
        (
            _set("output.columns", ["note", "source"]),
            "the columns are none in the one and note, source in the other",
            "again",
        ),
        (
            _set("settings.keep", ["note", "source"]),
            "the --keep is not given in the one and note, source in the other",
            "again",
        ),
        (_set("settings.limit", 7_000), "the --limit is not given in the one and 7,000", "again"),
        (
            _set("input.size_bytes", 1_234_568),
            "the input's size is 1,234,567 bytes in the one and 1,234,568 bytes in the other",
            "again",
        ),
        (_set("shard.of", 4), "the number of shares is 3 in the one and 4 in the other", "again"),
        (_set("shard.number", 1), "are both of the share 1/3", "one output for each"),
        (_set("shard.input_rows", 8), "has read 7 rows of the input, and that of", "again"),
        (_set("counts.rows", 3), "share2.jsonl has 3 rows, and the share 2/3 of 7", "audit"),
        (_set("state", "running"), "the run of", "--resume"),
        (_set("retrying", {"sha256": "1"}), "a retry of", "batchkms retry"),
        (lambda content: content.pop("shard"), "is not of a run with --shard", "1/N"),
        (lambda content: content["settings"].pop("shard"), "is not of a run with --shard", "1/N"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str, hint: str
) -> None:
    paths = dealt(tmp_path, 3, range(1, 8), input={"size_bytes": 1_234_567})
    _edit(paths[1], change)
    with pytest.raises(ConfigError) as refused:
        read_shares(paths)
    assert told in str(refused.value)
    assert "share2.jsonl" in str(refused.value)
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ([0, 2], "no output of the share 2/3 was named"),
        ([1], "no output of the shares 1/3, 3/3 was named"),
        ([0, 1, 2, 1], "share2.jsonl are both of the share 2/3"),
    ],
)
def test_every_share_is_named_once(tmp_path: Path, named: list[int], told: str) -> None:
    paths = dealt(tmp_path, 3, range(1, 8))
    with pytest.raises(ConfigError) as refused:
        read_shares([paths[index] for index in named])
    assert told in str(refused.value)


def test_of_many_missing_shares_the_first_are_named(tmp_path: Path) -> None:
    paths = dealt(tmp_path, 20, range(1, 21))
    with pytest.raises(ConfigError, match=r"2/20, .*11/20 and 9 more was named"):
        read_shares(paths[:1])


@pytest.mark.parametrize("lost", ["output", "manifest", "both"])
def test_what_is_not_there_is_told(tmp_path: Path, lost: str) -> None:
    paths = dealt(tmp_path, 2, range(1, 5))
    if lost != "manifest":
        paths[1].unlink()
    if lost != "output":
        manifest_path(paths[1]).unlink()
    with pytest.raises(ConfigError, match="there is no output .*share2.jsonl with its manifest"):
        read_shares(paths)


def test_an_output_that_has_not_got_its_name_is_not_finished(tmp_path: Path) -> None:
    paths = dealt(tmp_path, 2, range(1, 5))
    paths[1].rename(tmp_path / "share2.jsonl.partial")
    with pytest.raises(ConfigError, match="the run of .*share2.jsonl has not finished") as refused:
        read_shares(paths)
    assert "--resume" in str(refused.value.hint)


def test_a_file_of_another_size_is_no_longer_what_was_written(tmp_path: Path) -> None:
    paths = dealt(tmp_path, 2, range(1, 51))
    had = paths[1].stat().st_size
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    told = f"share2.jsonl is not as its run left it: it has {had - 1:,} bytes and had {had:,}$"
    with pytest.raises(NotAsLeft, match=told):
        read_shares(paths)
    assert had > 1_000


@pytest.mark.parametrize("kept", [["sha256"], ["head_sha256"], []])
def test_the_digest_of_the_whole_input_must_be_known(tmp_path: Path, kept: list[str]) -> None:
    paths = dealt(tmp_path, 2, range(1, 5), input={"head_sha256": "3" * 64}, settings={"limit": 2})
    for path in paths:
        for name in {"sha256", "head_sha256"} - {*kept}:
            _edit(path, _set(f"input.{name}", None))
    if "sha256" in kept:
        assert [share.limit for share in read_shares(paths)] == [2, 2]
        return
    with pytest.raises(BatchKmsError, match="nothing says which input .*share1.jsonl is of"):
        read_shares(paths)


def test_with_a_limit_each_share_has_so_many_rows_as_far_as_there_are(tmp_path: Path) -> None:
    paths = dealt(tmp_path, 2, range(1, 4), settings={"limit": 2})
    # The one that came to its limit has not read on.
    _edit(paths[0], _set("shard.input_rows", 3))
    assert [share.rows for share in read_shares(paths)] == [2, 1]
    _edit(paths[0], _set("shard.input_rows", 4))
    with pytest.raises(ConfigError, match="share2.jsonl has 1 rows, and the share 2/2 of 4"):
        read_shares(paths)
