"""Merged shares hold every row once, byte for byte, or nothing is left of the merge."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.errors import BatchKmsError, ConfigError, OutputError
from batchkms.reporting.summary import State, exit_code
from batchkms.runs.audit import OutputAudit
from batchkms.runs.fileoutput import FileOutput, sums_path
from batchkms.runs.files import PRIVATE_FILE
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.merging import Merge, open_merged
from batchkms.runs.rowsums import packed
from batchkms.runs.shares import NotAsLeft, read_shares
from batchkms.shard import Shard
from batchkms.tally import Tally
from tests.runs.dealt import dealt, row, share_output


def _merge(
    paths: Sequence[Path], output: Path, *, ordered: bool = False, overwrite: bool = False
) -> Merge:
    shares = read_shares(paths)
    merge = Merge(
        shares=shares,
        output=open_merged(str(output), shares, overwrite=overwrite),
        ordered=ordered,
        timeline=[],
        tally=Tally(),
        exit_code=lambda tally: int(exit_code(tally, State.FINISHED)),
    )
    merge.run()
    return merge


def _content(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(manifest_path(output).read_bytes())
    return content


def _assert_as_one_run(output: Path) -> dict[str, Any]:
    """The audit finds nothing, and no file is left but those of a run."""
    manifest = Manifest.load(manifest_path(output))
    assert manifest is not None
    assert manifest.finished
    audit = OutputAudit(output, manifest.content)
    audit.run()
    assert (audit.findings.named, dict(audit.findings.counts)) == ([], {})
    assert _names(output) == {"", ".run.json", ".run.sums"}
    assert {path.stat().st_mode & 0o777 for path in output.parent.glob("out.*")} == {PRIVATE_FILE}
    return manifest.content


def _names(output: Path) -> set[str]:
    return {path.name.removeprefix(output.name) for path in output.parent.glob("out.*")}


def _seqs(output: Path) -> list[int]:
    return [orjson.loads(line)["seq"] for line in output.read_bytes().splitlines()]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_rows_are_copied_byte_by_byte(tmp_path: Path, format: str) -> None:
    paths = dealt(tmp_path, 3, range(1, 3_001), format=format)
    output = tmp_path / f"out.{format}"
    merge = _merge(paths, output)
    header = b"" if format == "jsonl" else paths[0].read_bytes().partition(b"\n")[0] + b"\n"
    assert output.read_bytes() == header + b"".join(
        path.read_bytes().removeprefix(header) for path in paths
    )
    content = _assert_as_one_run(output)
    assert content["output"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert content["counts"]["calls"] == merge.tally.calls == 3_000
    assert "shard" not in content["settings"]
    assert [each["shard"] for each in content["merged"]] == ["1/3", "2/3", "3/3"]


@settings(deadline=None, max_examples=25)
@given(data=st.data(), of=st.integers(1, 5))
def test_whatever_the_order_of_the_rows_they_can_be_put_in_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, of: int
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    rows = data.draw(st.integers(0, 12))
    paths = []
    for number in range(1, of + 1):
        seqs = data.draw(st.permutations(range(number, rows + 1, of)))
        shard = Shard(number, of)
        paths.append(share_output(folder, shard, [row(seq) for seq in seqs], of_rows=rows))
        if data.draw(st.booleans()):
            sums_path(paths[-1]).unlink()
    output = folder / "out.jsonl"
    _merge(data.draw(st.permutations(paths)), output, ordered=True)
    assert _seqs(output) == list(range(1, rows + 1))
    assert _assert_as_one_run(output)["settings"]["ordered"] is True


def _exits_with(folder: Path, codes: Sequence[str | None], *, passed_on: bool = False) -> int:
    paths = [
        share_output(folder, Shard(number, 2), [row(number, code)], of_rows=2)
        for number, code in enumerate(codes, 1)
    ]
    if passed_on:
        manifest = manifest_path(paths[0])
        manifest.write_bytes(manifest.read_bytes().replace(b'"exit_code": 4', b'"exit_code": 1'))
    merge = _merge(paths, folder / "out.jsonl")
    code: int = _assert_as_one_run(folder / "out.jsonl")["exit_code"]
    assert code == exit_code(merge.tally, State.FINISHED)
    return code


def test_the_exit_code_is_that_of_one_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    def folder() -> Path:
        return tmp_path_factory.mktemp("exit")

    assert _exits_with(folder(), [None, None]) == 0
    assert _exits_with(folder(), [None, "InternalError"]) == 4
    assert _exits_with(folder(), ["EmptyPlaintext", "InternalError"]) == 1
    # A row of another run that had failed there: its code alone does not say so.
    assert _exits_with(folder(), ["InternalError", None], passed_on=True) == 1


def test_shares_without_rows_make_an_output_without_rows(tmp_path: Path) -> None:
    merge = _merge(dealt(tmp_path, 2, [], format="csv"), tmp_path / "out.csv")
    assert exit_code(merge.tally, State.FINISHED) == 5
    assert _assert_as_one_run(tmp_path / "out.csv")["counts"]["rows"] == 0


def test_of_each_share_the_first_rows_are_the_first_ones_of_the_input(tmp_path: Path) -> None:
    _merge(dealt(tmp_path, 3, range(1, 7), settings={"limit": 2}), tmp_path / "out.jsonl")
    assert _content(tmp_path / "out.jsonl")["settings"]["limit"] == 6


def _same_size(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"A5", b"B5"))


def _reordered(path: Path) -> None:
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))


def _no_row(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'{"seq":5', b'["seq":5'))


def _twice_in_it(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seq":5', b'"seq":3'))


def _that_of_another(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seq":5', b'"seq":4'))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize(
    "damage", [_same_size, _reordered, _no_row, _twice_in_it, _that_of_another]
)
def test_a_share_that_was_changed_leaves_no_output(
    tmp_path: Path, damage: Callable[[Path], None], ordered: bool, sums: bool
) -> None:
    paths = dealt(tmp_path, 2, range(1, 8))
    if not sums:
        sums_path(paths[0]).unlink()
    damage(paths[0])
    with pytest.raises(NotAsLeft, match="share1.jsonl is not as its run left it") as refused:
        _merge(paths, tmp_path / "out.jsonl", ordered=ordered)
    assert "batchkms audit" in str(refused.value.hint)
    assert _names(tmp_path / "out.jsonl") == set()


@pytest.mark.parametrize("ordered", [False, True])
def test_a_number_that_is_there_twice_leaves_no_output(tmp_path: Path, ordered: bool) -> None:
    paths = [
        share_output(tmp_path, Shard(1, 2), [row(1), row(7)], of_rows=4),
        share_output(tmp_path, Shard(2, 2), [row(2), row(7)], of_rows=4),
    ]
    with pytest.raises(ConfigError, match="the shares have two rows with the seq 7"):
        _merge(paths, tmp_path / "out.jsonl", ordered=ordered)
    assert _names(tmp_path / "out.jsonl") == set()


def test_an_output_that_is_there_is_replaced_only_when_that_was_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    paths = dealt(tmp_path, 2, range(1, 5))
    _merge(paths, output)
    before = {path: path.read_bytes() for path in tmp_path.glob("out.*")}
    with pytest.raises(ConfigError, match="exists already"):
        _merge(paths, output)
    _same_size(paths[0])
    paths[0].write_bytes(paths[0].read_bytes().replace(b"A1", b"B1"))
    with pytest.raises(NotAsLeft):
        _merge(paths, output, overwrite=True)
    # The old one is as it was, its manifest too.
    assert {path: path.read_bytes() for path in tmp_path.glob("out.*")} == before
    paths[0].write_bytes(paths[0].read_bytes().replace(b"B1", b"A1"))
    _merge(paths, output, overwrite=True, ordered=True)
    assert _seqs(output) == [1, 2, 3, 4]
    _assert_as_one_run(output)


def test_what_a_run_has_left_is_not_replaced(tmp_path: Path) -> None:
    paths = dealt(tmp_path, 2, range(1, 5))
    output = FileOutput(tmp_path / "out.jsonl", overwrite=False, fsync_interval_s=1.0)
    output.create()
    output.append(b"{}\n", packed([1], [b"{}\n"]))
    with pytest.raises(ConfigError, match="another run is writing"):
        _merge(paths, output.path)
    output.close()
    with pytest.raises(ConfigError, match="holds the results of a run that did not end"):
        _merge(paths, output.path)
    assert output.partial.read_bytes() == b"{}\n"


@pytest.mark.parametrize("name", ["share1.jsonl", "share2.jsonl.run.json", "in.jsonl"])
def test_what_is_read_is_never_written_to(tmp_path: Path, name: str) -> None:
    inventory = tmp_path / "in.jsonl"
    inventory.write_text("rows\n")
    paths = dealt(tmp_path, 2, range(1, 5), input={"path": str(inventory)})
    before = (tmp_path / name).read_bytes()
    with pytest.raises(BatchKmsError):
        _merge(paths, tmp_path / name, overwrite=True)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("-", "stdout has no place"),
        ("out.csv", "the results are jsonl, and the suffix of"),
        ("out.jsonl.gz", "not written compressed"),
        ("nowhere/out.jsonl", "there is no folder"),
        ("/", "/ is a folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused(tmp_path: Path, output: str, told: str) -> None:
    paths = dealt(tmp_path, 2, range(1, 5))
    shares = read_shares(paths)
    path = output if output == "-" else str(tmp_path / output)
    with pytest.raises(ConfigError, match=told):
        open_merged(path, shares, overwrite=False)


def test_a_name_that_says_no_format_is_taken(tmp_path: Path) -> None:
    _merge(dealt(tmp_path, 2, range(1, 5)), tmp_path / "out.results")
    assert _content(tmp_path / "out.results")["output"]["format"] == "jsonl"


def _dies_at(number: int, merge: Callable[[], object]) -> bool:
    """Whether a process that merges died before this call to the file system; else it has ended."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, _DIED)
        return code == _DIED
    left = iter(range(number, 0, -1))

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **more: Any) -> Any:
            if next(left, 0) == 1:
                os._exit(_DIED)
            return call(*given, **more)

        return called

    for name in ("write", "fsync", "replace", "unlink", "open"):
        setattr(os, name, dying(getattr(os, name)))
    try:
        merge()
    except BaseException:
        os._exit(1)
    os._exit(0)


_DIED = 77


@pytest.mark.parametrize("replacing", [False, True])
def test_a_merge_is_done_wherever_it_died(tmp_path: Path, replacing: bool) -> None:
    paths, output = dealt(tmp_path, 2, range(1, 7)), tmp_path / "out.jsonl"
    _merge(paths, output)
    whole, number, died = output.read_bytes(), 0, True
    while died:
        if not replacing:
            for path in tmp_path.glob("out.*"):
                path.unlink()
        number += 1
        died = _dies_at(number, lambda: _merge(paths, output, overwrite=replacing))
        if output.exists():
            assert output.read_bytes() == whole
        if replacing or not output.exists():
            _merge(paths, output, overwrite=replacing)
        assert output.read_bytes() == whole
        _assert_as_one_run(output)
    assert number > 10


def test_a_disk_that_is_full_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = dealt(tmp_path, 2, range(1, 2_501))
    append, calls = FileOutput.append, iter(range(10))

    def full(self: FileOutput, data: bytes, sums: bytes) -> None:
        if next(calls) == 2:
            raise OutputError("the disk is full", hint="free some space")
        append(self, data, sums)

    monkeypatch.setattr(FileOutput, "append", full)
    with pytest.raises(OutputError, match="the disk is full"):
        _merge(paths, tmp_path / "out.jsonl")
    assert _names(tmp_path / "out.jsonl") == set()
