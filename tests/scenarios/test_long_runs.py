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
from tests.scenarios.ended import credentials, larger, target, until_it


def _inventory(batchkms: Program, rows: int) -> None:
    lines = (f'{{"id":"row-{seq}","plaintext":"example {seq}"}}\n' for seq in range(rows))
    batchkms.write("in.jsonl", "".join(lines))


async def _started(
    batchkms: Program, kms: Emulator, *more: str, before: tuple[str, ...] = ()
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *before,
        *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), *more),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # The tests themselves may run under nohup.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    partial = batchkms.folder / "out.jsonl.partial"
    await until_it(process, larger(partial, 0))
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


async def test_sighup_takes_every_kind_of_rate(batchkms: Program, tmp_path: Path) -> None:
    """`auto` is what the service said when the run began, as long as it goes on."""
    _inventory(batchkms, 2_000)
    job = batchkms.write("job.toml", 'rate = "auto"\nconcurrency = 4\nprogress = "never"\n')
    changes = [
        ('rate = "auto"\nreserve = "50%"\nconcurrency = 2', "20 calls/s, concurrency 2"),
        ('rate = 30\nreserve = "50%"\nconcurrency = 3', "15 calls/s, concurrency 3"),
        ('rate = "off"\nreserve = "50%"\nconcurrency = 1', "no limit, concurrency 1"),
        ('rate = "auto"\nconcurrency = 5', "40 calls/s, concurrency 5"),
    ]
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=40) as kms:
        process = await _started(batchkms, kms, "--config", "job.toml")
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.readline(), 10)
        assert b"the quota is 40 calls/s" in said
        for content, told in changes:
            job.write_text(content + "\n")
            process.send_signal(signal.SIGHUP)
            line = await asyncio.wait_for(process.stderr.readline(), 10)
            assert line.decode() == f"batchkms: the job file was read again: {told}\n"
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 20)
        # Once a run.
        assert kms.stats.as_json()["actions"]["GetServiceStatus"]["calls"] == 1
    assert process.returncode == 130
    manifest = _manifest(batchkms)
    noted = [(change["rate"], change["calls_per_second"]) for change in manifest["changed"]]
    assert noted == [("auto", 20), (30, 15), ("off", None), ("auto", 40)]
    assert (manifest["settings"]["rate"], manifest["settings"]["concurrency"]) == ("auto", 5)


async def test_under_nohup_a_run_goes_on(batchkms: Program, tmp_path: Path) -> None:
    """nohup starts it with SIGHUP ignored, and the terminal goes away."""
    _inventory(batchkms, 600)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        process = await _started(batchkms, kms, before=("nohup",))
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        _, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, stderr
    assert b"interrupted" not in stderr
    assert _manifest(batchkms)["counts"]["ok"] == 600


async def test_sighup_without_a_job_file_drains(batchkms: Program, tmp_path: Path) -> None:
    _inventory(batchkms, 2_000)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        process = await _started(batchkms, kms)
        process.send_signal(signal.SIGHUP)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert _manifest(batchkms)["state"] == "interrupted"
