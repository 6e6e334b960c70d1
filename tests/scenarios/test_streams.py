"""stdout and stderr that are closed, full or gone: no log line is worth a run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, target

FULL = Path("/dev/full")


def _inventory(batchkms: Program, rows: int = 20) -> None:
    lines = (f'{{"id":"row-{seq}","plaintext":"example {seq}"}}\n' for seq in range(rows))
    batchkms.write("in.jsonl", "".join(lines))


async def _shell(batchkms: Program, kms: Emulator, redirections: str, *more: str) -> int:
    """Runs the command in a shell with these redirections; its exit code."""
    output = () if "-o" in more else ("-o", "out.jsonl")
    command = ["exec", *batchkms.command("encrypt", "in.jsonl", *output, *target(kms), *more)]
    process = await asyncio.create_subprocess_shell(
        " ".join([*command, redirections]),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert b"Traceback" not in stdout + stderr
    assert b"internal error" not in stdout + stderr
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize(
    "redirections", ["2>&-", "2>/dev/full", ">&-", ">&- 2>&-", "<&-", ">/dev/full"]
)
@pytest.mark.parametrize("rate", ["300", "off"])
async def test_a_run_to_a_file_needs_no_stream(
    batchkms: Program, kms: Emulator, redirections: str, rate: str
) -> None:
    if "full" in redirections and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    _inventory(batchkms)
    assert await _shell(batchkms, kms, redirections, "--rate", rate) == 0
    output = batchkms.folder / "out.jsonl"
    assert len(output.read_bytes().splitlines()) == 20
    assert json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())["exit_code"] == 0


@pytest.mark.parametrize("redirections", [">&-", ">&- 2>&-", ">&- <&-"])
async def test_results_are_not_sent_to_a_stdout_that_is_closed(
    batchkms: Program, kms: Emulator, redirections: str
) -> None:
    _inventory(batchkms)
    assert await _shell(batchkms, kms, redirections, "-o", "-") == 2
    assert "Encrypt" not in kms.stats.as_json()["actions"] or (
        kms.stats.as_json()["actions"]["Encrypt"]["calls"] == 0
    )


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
async def test_a_summary_that_cannot_be_written_is_told(batchkms: Program, kms: Emulator) -> None:
    _inventory(batchkms)
    code = await _shell(batchkms, kms, ">/dev/full", "--summary", "json")
    assert code == 3
    assert (batchkms.folder / "out.jsonl").exists()


async def test_a_reader_of_stderr_that_goes_away_changes_nothing(
    batchkms: Program, kms: Emulator
) -> None:
    _inventory(batchkms, 600)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)),
        *("--progress", "always"),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=(writing := _pipe_without_reader()),
    )
    os.close(writing)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert len((batchkms.folder / "out.jsonl").read_bytes().splitlines()) == 600


def _pipe_without_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


async def test_results_go_through_a_pipe_that_does_not_block(
    batchkms: Program, kms: Emulator
) -> None:
    _inventory(batchkms, 1500)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "-", "--rate", "off", *target(kms)),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    await asyncio.sleep(1.0)  # Long enough for the pipe to be full.
    received = await asyncio.to_thread(_read_all, reading)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert len({json.loads(line)["seq"] for line in received.splitlines()}) == 1500


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


async def test_json_for_a_terminal_holds_no_control_character(
    batchkms: Program, kms: Emulator
) -> None:
    name = "in\x9b\x1b.jsonl" if sys.platform == "linux" else "in.jsonl"
    batchkms.write(name, '{"plaintext":"example"}\n')
    ended = await batchkms.beside(
        *("encrypt", name, "-o", "out\x9b.jsonl", "--summary", "json", *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code == 0
    assert ended.stdout.isascii()
    assert ended.stderr == "" or ended.stderr.isascii()
