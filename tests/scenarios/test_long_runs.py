"""What happens to a run while it goes on: an outage, a job file that changes."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, target, until


def _inventory(batchkms: Program, rows: int) -> None:
    lines = (f'{{"id":"row-{seq}","plaintext":"example {seq}"}}\n' for seq in range(rows))
    batchkms.write("in.jsonl", "".join(lines))


async def _started(batchkms: Program, kms: Emulator, *more: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), *more),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.PIPE,
    )
    partial = batchkms.folder / "out.jsonl.partial"
    await asyncio.to_thread(until, lambda: partial.exists() and partial.stat().st_size > 0)
    return process


def _manifest(batchkms: Program) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())
    return manifest


@pytest.mark.parametrize(
    "outage_s", [2.5, pytest.param(60.0, marks=pytest.mark.long)], ids=["short", "a minute"]
)
async def test_an_outage_is_waited_out_and_no_row_fails(
    batchkms: Program, tmp_path: Path, outage_s: float
) -> None:
    rows = 900 if outage_s < 10 else 6_000
    _inventory(batchkms, rows)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        port = int(kms.endpoint.rpartition(":")[2])
        process = await _started(batchkms, kms)
    await asyncio.sleep(outage_s)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300, port=port):
        _, stderr = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, stderr
    results = [
        json.loads(line) for line in (batchkms.folder / "out.jsonl").read_text().splitlines()
    ]
    assert sorted(row["seq"] for row in results) == list(range(1, rows + 1))
    assert {row["status"] for row in results} == {"ok"}
    assert b"nothing succeeds: trying one call at a time" in stderr
    assert b"the service answers again" in stderr


async def test_an_outage_over_its_budget_is_resumed_later(
    batchkms: Program, tmp_path: Path
) -> None:
    _inventory(batchkms, 900)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        port = int(kms.endpoint.rpartition(":")[2])
        process = await _started(batchkms, kms, "--outage-budget", "2s")
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert b"ConnectionRefused" in stderr
    done = (batchkms.folder / "out.jsonl.partial").read_text().splitlines()
    assert {json.loads(line)["status"] for line in done} == {"ok"}
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=None, port=port) as kms:
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--resume", "--rate", "off"),
            *target(kms),
            environ=credentials(kms),
        )
    assert ended.code == 0
    assert len((batchkms.folder / "out.jsonl").read_text().splitlines()) == 900


async def test_sighup_reads_the_job_file_again(batchkms: Program, kms: Emulator) -> None:
    _inventory(batchkms, 2_000)
    job = batchkms.write("job.toml", 'rate = 40\nconcurrency = 4\nprogress = "never"\n')
    process = await _started(batchkms, kms, "--config", "job.toml")
    assert process.stderr is not None
    job.write_text('rate = "fast"\n')
    process.send_signal(signal.SIGHUP)
    refused = await asyncio.wait_for(process.stderr.readline(), 10)
    assert b"the job file is not taken: job.toml: rate takes" in refused
    job.write_text("rate = 2000\nreserve = '10%'\nconcurrency = 32\n")
    process.send_signal(signal.SIGHUP)
    told = await asyncio.wait_for(process.stderr.readline(), 10)
    assert told == b"batchkms: the job file was read again: 1,800 calls/s, concurrency 32\n"
    # At the first rate this would have taken fifty seconds.
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    manifest = _manifest(batchkms)
    (changed,) = manifest["changed"]
    assert (changed["rate"], changed["reserve"], changed["concurrency"]) == (2000, "10%", 32)
    assert (manifest["settings"]["rate"], manifest["settings"]["reserve"]) == (2000, "10%")
    assert manifest["counts"]["ok"] == 2_000


async def test_sighup_without_a_job_file_drains(batchkms: Program, tmp_path: Path) -> None:
    _inventory(batchkms, 2_000)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        process = await _started(batchkms, kms)
        process.send_signal(signal.SIGHUP)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert _manifest(batchkms)["state"] == "interrupted"
