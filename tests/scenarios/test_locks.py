"""While one run holds an output, every other one is refused before it can change anything."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, target, until_it
from tests.scenarios.flaky import flaky_service

ENCRYPT = ["encrypt", "in.jsonl", "-o", "out.jsonl"]
RETRY = ["retry", "out.jsonl"]
WRITERS = [ENCRYPT, [*ENCRYPT, "--resume"], [*ENCRYPT, "--overwrite"], RETRY, [*RETRY, "--resume"]]

LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def flaky(tmp_path: Path) -> AsyncIterator[Emulator]:
    """A service that fails every second call."""
    async with flaky_service(tmp_path / "kms") as service:
        yield service.kms


async def _finished(batchkms: Program, kms: Emulator) -> None:
    """Leaves a finished output in which every second row has failed."""
    rows = (f'{{"id":"row-{seq}","plaintext":"example {seq}"}}\n' for seq in range(20))
    batchkms.write("in.jsonl", "".join(rows))
    ended = await batchkms.beside(
        *ENCRYPT, "--max-attempts", "1", *target(kms), environ=credentials(kms)
    )
    assert ended.code == 4, ended.stderr


async def _leave(batchkms: Program, kms: Emulator, holder: list[str]) -> None:
    """Leaves what the holder begins with."""
    await _finished(batchkms, kms)
    output = batchkms.folder / "out.jsonl"
    if "--resume" in holder:
        rows = [line for line in output.read_text().splitlines() if '"ok"' in line][:5]
        batchkms.write("out.jsonl.partial", "".join(f"{row}\n" for row in rows))
    if holder[0] == "encrypt" and "--overwrite" not in holder:
        output.unlink()
    if "--resume" not in holder and holder[0] == "encrypt":
        for name in ("out.jsonl.run.json", "out.jsonl.run.sums"):
            (batchkms.folder / name).unlink()
    elif "--resume" in holder:
        _edit_manifest(batchkms, holder)


def _edit_manifest(batchkms: Program, holder: list[str]) -> None:
    path = batchkms.folder / "out.jsonl.run.json"
    content = json.loads(path.read_bytes())
    content["state"] = "running"
    if holder[0] == "retry":
        content["retrying"] = {"sha256": content["output"]["sha256"]}
    path.write_text(json.dumps(content))


@asynccontextmanager
async def _held(
    batchkms: Program, kms: Emulator, silent: str, holder: list[str]
) -> AsyncIterator[None]:
    """Meanwhile a run holds the output, stopped in the middle of its first calls."""
    options = ["--endpoint", silent] + (target(kms)[2:] if holder[0] == "encrypt" else [])
    before = _manifest(batchkms)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*holder, *options),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_it(process, lambda: _manifest(batchkms) != before)
        # A process that stands still holds its lock, and writes no note of its own meanwhile.
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        await process.wait()


def _manifest(batchkms: Program) -> bytes:
    path = batchkms.folder / "out.jsonl.run.json"
    return path.read_bytes() if path.exists() else b""


def _files(batchkms: Program) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in batchkms.folder.glob("*.json*")}


@pytest.mark.parametrize("holder", WRITERS, ids=" ".join)
async def test_a_second_run_is_refused_and_changes_nothing(
    batchkms: Program, flaky: Emulator, silent: str, holder: list[str]
) -> None:
    await _leave(batchkms, flaky, holder)
    async with _held(batchkms, flaky, silent, holder):
        before = _files(batchkms)
        assert "out.jsonl.partial" in before
        for second in WRITERS:
            options = target(flaky) if second[0] == "encrypt" else []
            ended = await batchkms.beside(*second, *options, environ=credentials(flaky))
            assert ended.code == 2, (second, ended.stderr)
            if holder[0] == "encrypt" and second[0] == "retry":
                # There is nothing to retry yet, whoever writes it.
                assert "finished" in ended.errors[0], second
            else:
                assert ended.errors == ["another run is writing out.jsonl.partial"], second
            assert _files(batchkms) == before, second


async def test_two_retries_at_once_are_told_apart_before_the_manifest_changes(
    batchkms: Program, flaky: Emulator
) -> None:
    """The first one has the lock, and has not come to its manifest yet."""
    await _finished(batchkms, flaky)
    before = _files(batchkms)
    partial = batchkms.write("out.jsonl.partial", b"")
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOCK, str(partial)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        assert await holder.stdout.readline() == b"locked\n"
        for second in (RETRY, [*RETRY, "--resume"]):
            ended = await batchkms.beside(*second, environ=credentials(flaky))
            assert (ended.code, ended.errors) == (
                2,
                ["another run is writing out.jsonl.partial"],
            ), ended.stderr
        assert _files(batchkms) == before | {"out.jsonl.partial": b""}
    finally:
        holder.kill()
        await holder.communicate()


@pytest.mark.parametrize("more", [[], ["--resume"]])
async def test_a_retry_that_died_with_the_lock_alone_is_no_retry(
    batchkms: Program, tmp_path: Path, more: list[str]
) -> None:
    """It leaves an empty partial file beside an output and a manifest that are as they were."""
    async with flaky_service(tmp_path / "kms") as service:
        kms = service.kms
        await _finished(batchkms, kms)
        service.failing = False
        batchkms.write("out.jsonl.partial", b"")
        before = _files(batchkms)
        again = await batchkms.beside(*ENCRYPT, "--resume", *target(kms), environ=credentials(kms))
        assert (again.code, "nothing to do" in again.stderr) == (4, True), again.stderr
        assert _files(batchkms) == before
        ended = await batchkms.beside(*RETRY, *more, environ=credentials(kms))
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    rows = [json.loads(line) for line in (batchkms.folder / "out.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"ok"}
    assert sorted(row["seq"] for row in rows) == list(range(1, 21))
    assert not (batchkms.folder / "out.jsonl.partial").exists()


async def test_a_retry_that_finds_nothing_to_do_leaves_no_partial_file(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", '{"id":"a","plaintext":"example"}\n')
    ended = await batchkms.beside(*ENCRYPT, *target(kms), environ=credentials(kms))
    assert ended.code == 0
    before = _files(batchkms)
    ended = await batchkms.beside(*RETRY, environ=credentials(kms))
    assert (ended.code, "nothing to do" in ended.stderr) == (0, True)
    (batchkms.folder / "in.jsonl").unlink()
    ended = await batchkms.beside(*RETRY, environ=credentials(kms))
    assert ended.code == 2
    before.pop("in.jsonl")
    assert _files(batchkms) == before
