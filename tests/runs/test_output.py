"""The partial file and its end, on a real file system."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from batchkms.errors import ConfigError, OutputError
from batchkms.runs import files
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.output import open_output
from batchkms.runs.rowsums import packed


def _output(folder: Path, *, overwrite: bool = False) -> FileOutput:
    output = open_output(str(folder / "out.jsonl"), input_path="-", overwrite=overwrite)
    assert isinstance(output, FileOutput)
    return output


async def test_the_output_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"one\n", packed([1], [b"one\n"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.jsonl.partial",
        "out.jsonl.partial.sums",
    ]
    assert stat.S_IMODE(output.partial.stat().st_mode) == 0o600
    await output.write(b"two\n", packed([1], [b"two\n"]))
    digest = await output.complete()
    output.publish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.run.sums"]
    assert output.path.read_bytes() == b"one\ntwo\n"
    assert digest == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert output.size_bytes == 8


async def test_an_abandoned_output_keeps_what_was_written(tmp_path: Path) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"one\n", packed([1], [b"one\n"]))
    await output.abandon()
    assert output.partial.read_bytes() == b"one\n"
    assert not output.path.exists()


async def test_an_output_without_any_row_is_not_left_behind(tmp_path: Path) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"the,header\r\n")
    await output.abandon()
    assert list(tmp_path.iterdir()) == []
    assert output.where(finished=False) == "none"


async def test_another_run_is_refused_while_the_first_one_writes(tmp_path: Path) -> None:
    first = _output(tmp_path)
    first.create()
    first.adopt([b"one\n"], [1])
    for overwrite in (True, False):
        second = _output_anyway(tmp_path, overwrite=overwrite)
        with pytest.raises(ConfigError, match="another run is writing"):
            second.create() if overwrite else second.reopen()
    first.close()
    os.close(_output_anyway(tmp_path, overwrite=False).reopen())


def _output_anyway(folder: Path, *, overwrite: bool) -> FileOutput:
    return FileOutput(folder / "out.jsonl", overwrite=overwrite, fsync_interval_s=1.0)


async def test_a_umask_takes_nothing_away(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        output = _output(tmp_path)
        output.create()
    finally:
        os.umask(before)
    assert stat.S_IMODE(output.partial.stat().st_mode) == 0o600
    output.close()


@pytest.mark.parametrize("begin", [FileOutput.claim, FileOutput.reopen])
async def test_a_partial_file_that_others_may_read_becomes_private(
    tmp_path: Path, begin: Callable[[FileOutput], int | None]
) -> None:
    output = _output_anyway(tmp_path, overwrite=False)
    output.partial.touch()
    output.partial.chmod(0o666)
    fd = begin(output)
    assert stat.S_IMODE(output.partial.stat().st_mode) == 0o600
    output.close()
    if fd is not None:
        os.close(fd)


@pytest.mark.parametrize("begin", [FileOutput.claim, FileOutput.reopen])
@pytest.mark.parametrize(
    ("kind", "told"),
    [("hard link", "has a second name"), ("FIFO", "is no regular"), ("other", "another user")],
)
async def test_a_partial_file_that_is_not_this_users_alone_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[FileOutput], object],
    kind: str,
    told: str,
) -> None:
    output = _output_anyway(tmp_path, overwrite=False)
    if kind == "FIFO":
        os.mkfifo(output.partial, 0o644)
    else:
        output.partial.touch()
        output.partial.chmod(0o644)
    if kind == "hard link":
        os.link(output.partial, tmp_path / "second")
    elif kind == "other":
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(ConfigError, match=told):
        begin(output)
    assert stat.S_IMODE(output.partial.stat().st_mode) == 0o644


async def test_overwriting_keeps_the_old_output_until_the_new_one_is_complete(
    tmp_path: Path,
) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"old\n")
    output = _output(tmp_path, overwrite=True)
    output.create()
    output.begin()
    await output.write(b"new\n", packed([1], [b"new\n"]))
    assert output.path.read_bytes() == b"old\n"
    await output.complete()
    output.publish()
    assert output.path.read_bytes() == b"new\n"


async def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"ours\n", packed([1], [b"ours\n"]))
    output.path.write_bytes(b"theirs\n")
    await output.complete()
    with pytest.raises(OutputError, match="another program made"):
        output.publish()
    assert output.path.read_bytes() == b"theirs\n"
    assert output.partial.read_bytes() == b"ours\n"


async def test_a_partial_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = _output(tmp_path)
    output.partial.write_bytes(b"theirs\n")
    with pytest.raises(ConfigError, match="another run has just made"):
        output.create()
    assert output.partial.read_bytes() == b"theirs\n"


def _full_after(size_bytes: int) -> Callable[[int, memoryview], int]:
    """An os.write for a disk that has this much space left, and takes 3 bytes at a time."""
    left = size_bytes
    write = os.write

    def limited(fd: int, data: memoryview) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(fd, data[: min(3, left)])
        left -= taken
        return taken

    return limited


async def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", _full_after(1000))
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"a row of some length\n", packed([1], [b"a row of some length\n"]))
    await output.complete()
    output.publish()
    assert output.path.read_bytes() == b"a row of some length\n"


async def test_a_group_that_does_not_fit_leaves_no_torn_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    output.append(b"one\n", packed([1], [b"one\n"]))
    monkeypatch.setattr(os, "write", _full_after(6))
    await output.write(
        b"a second row that is longer\n", packed([1], [b"a second row that is longer\n"])
    )
    with pytest.raises(OutputError, match="No space left") as caught:
        await output.abandon()
    assert caught.value.hint == "free some space, then run again with --resume"
    assert output.partial.read_bytes() == b"one\n"


async def test_a_failed_fsync_ends_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = _output(tmp_path)
    output.create()
    output.begin()
    await output.write(b"one\n", packed([1], [b"one\n"]))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        await output.complete()
    output.close()
    assert not output.path.exists()


def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest"
    files.replace_file(path, b"first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _full_after(4))
        with pytest.raises(OSError, match="No space left"):
            files.replace_file(path, b"second, longer")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest"]
    files.replace_file(path, b"third")
    assert path.read_bytes() == b"third"
