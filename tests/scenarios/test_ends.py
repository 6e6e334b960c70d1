"""Runs that do not simply finish: stopped, interrupted, partly failed. Nothing is lost silently."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, larger, target, until_it


def _inventory(batchkms: Program, rows: int, *, width: int = 10) -> None:
    batchkms.write(
        "in.jsonl",
        "".join(f'{{"id":"row-{seq}","plaintext":"{"x" * width}{seq}"}}\n' for seq in range(rows)),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _manifest(batchkms: Program) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())
    return manifest


async def test_calls_that_fail_are_tried_again_inside_the_quota(
    batchkms: Program, tmp_path: Path
) -> None:
    calls = count(1)
    async with Emulator(
        data_dir=tmp_path / "kms",
        rate_limit=300,
        fail=lambda action: "InternalError" if next(calls) % 20 == 0 else None,
    ) as kms:
        _inventory(batchkms, 600)
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--summary", "json", *target(kms)),
            environ=credentials(kms),
        )
        seen = kms.stats.as_json()["actions"]["Encrypt"]
    summary = json.loads(ended.stdout)
    assert (ended.code, summary["ok"], summary["failed"]) == (0, 600, 0)
    assert summary["retries"] >= 600 // 20
    assert summary["calls"] == 600 + summary["retries"] == seen["calls"]
    assert seen["errors"]["InternalError"] >= 600 // 20
    assert seen["peak_per_second"] <= 300
    assert sum(row["attempts"] for row in _rows(batchkms.folder / "out.jsonl")) == summary["calls"]


async def test_when_every_failure_is_retryable_the_exit_code_is_4(
    batchkms: Program, tmp_path: Path
) -> None:
    calls = count()
    async with Emulator(
        data_dir=tmp_path / "kms",
        rate_limit=None,
        fail=lambda action: "InternalError" if next(calls) % 2 else None,
    ) as kms:
        _inventory(batchkms, 20)
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--max-attempts", "1", *target(kms)),
            environ=credentials(kms),
        )
    assert ended.code == 4
    results = _rows(batchkms.folder / "out.jsonl")
    assert sorted(row["status"] for row in results) == ["failed"] * 10 + ["ok"] * 10
    assert {row["class"] for row in results if row["status"] == "failed"} == {"internal"}
    assert any(
        "try again later: the fault is the service's own (10 rows)" in line
        for line in _next(ended.stderr)
    )


def _next(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("batchkms: next: ")]


async def test_an_unusable_key_stops_the_run(batchkms: Program, kms: Emulator) -> None:
    _inventory(batchkms, 500)
    gone = "00000000-0000-0000-0000-000000000000"
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl"),
        *("--endpoint", kms.endpoint, "--key-id", gone),
        environ=credentials(kms),
    )
    assert ended.code == 3
    (error,) = ended.errors
    assert error.startswith(f"the CMK {gone} cannot be used: ")
    assert "CmkNotFound" in error
    assert "request id" in error
    assert len(ended.hints) == 1
    assert not (batchkms.folder / "out.jsonl").exists()
    # Without a single row in it, a partial file would only be in the way of the next run.
    assert not (batchkms.folder / "out.jsonl.partial").exists()
    assert "batchkms: results: none" in ended.stderr.splitlines()
    manifest = _manifest(batchkms)
    assert (manifest["state"], manifest["exit_code"]) == ("stopped", 3)
    assert "CmkNotFound" in manifest["reason"]


async def test_refused_credentials_stop_the_run(batchkms: Program, kms: Emulator) -> None:
    _inventory(batchkms, 500)
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)),
        environ={**credentials(kms), "TENCENTCLOUD_SECRET_KEY": "wrong"},
    )
    assert ended.code == 3
    assert "AuthFailure.SignatureFailure" in ended.errors[0]
    assert "wrong" not in ended.stderr


async def test_a_service_that_is_not_there_is_an_outage(batchkms: Program) -> None:
    _inventory(batchkms, 50)
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--outage-budget", "2s"),
        *("--endpoint", "http://127.0.0.1:1", "--key-id", "k"),
        environ={"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"},
    )
    assert ended.code == 3
    assert ended.errors[0].startswith("no call has succeeded for ")
    # An outage is no row's fault: none of them was given up.
    assert not (batchkms.folder / "out.jsonl.partial").exists()
    assert "ConnectionRefused: no connection to 127.0.0.1 port 1" in ended.errors[0]


async def test_an_unclosed_quote_stops_the_run_where_it_began(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.csv", 'id,plaintext\na,one\nb,"two\nc,three\nd,four\n')
    ended = await batchkms.beside(
        "encrypt", "in.csv", "-o", "out.jsonl", *target(kms), environ=credentials(kms)
    )
    assert ended.code == 3
    assert "in.csv, line 3: " in ended.errors[0]
    assert [row["id"] for row in _rows(batchkms.folder / "out.jsonl.partial")] == ["a"]


async def test_an_input_that_breaks_off_stops_the_run(batchkms: Program, kms: Emulator) -> None:
    rows = "".join(f'{{"id":"row-{seq}","plaintext":"{seq}"}}\n' for seq in range(3000))
    batchkms.write("in.jsonl.gz", gzip.compress(rows.encode())[:-2000])
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl.gz", "-o", "out.jsonl", "--rate", "off", *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code == 3
    done = _rows(batchkms.folder / "out.jsonl.partial")
    assert f"line {len(done) + 1}: the input breaks off" in ended.errors[0]
    assert {row["status"] for row in done} == {"ok"}


async def test_too_many_failures_stop_the_run(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", '{"id":"a","plaintext":"x"}\n' + '{"id":"b"}\n' * 50)
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--max-failures", "10", *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code == 3
    assert "more than allowed" in ended.errors[0]


async def test_when_the_first_hundred_rows_fail_the_run_stops(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", '{"id":"b","secret":"x"}\n' * 5000)
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)), environ=credentials(kms)
    )
    assert ended.code == 3
    assert "the first 100 rows all failed; the last one with MissingPlaintext" in ended.errors[0]


async def test_a_full_disk_stops_the_run_and_leaves_whole_rows(
    batchkms: Program, kms: Emulator
) -> None:
    _inventory(batchkms, 2000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "900", *target(kms))
    ended = await asyncio.to_thread(batchkms, *command, environ=credentials(kms), preexec=limit)
    assert ended.code == 3
    assert "out.jsonl.partial cannot be written: File too large" in ended.errors[0]
    assert "ulimit -f" in ended.hints[0]
    done = _rows(batchkms.folder / "out.jsonl.partial")
    assert len({row["seq"] for row in done}) == len(done) > 0
    manifest = _manifest(batchkms)
    assert (manifest["state"], manifest["output"]["rows"]) == ("stopped", len(done))
    assert any(
        "done but not written: they will be sent again" in line for line in _next(ended.stderr)
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains_the_run(
    batchkms: Program, tmp_path: Path, number: signal.Signals
) -> None:
    _inventory(batchkms, 5000)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        process = await _started(batchkms, kms)
        await until_it(process, larger(batchkms.folder / "out.jsonl.partial", 0))
        process.send_signal(number)
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
        seen = kms.stats.as_json()["actions"]["Encrypt"]["ok"]
    assert process.returncode == 130
    done = _rows(batchkms.folder / "out.jsonl.partial")
    assert 0 < len(done) < 5000
    assert {row["status"] for row in done} == {"ok"}
    # What was sent was waited for and written.
    assert len(done) == seen
    assert _manifest(batchkms)["state"] == "interrupted"
    assert b"Traceback" not in stderr
    assert b"interrupt again to leave at once" in stderr


async def test_the_second_signal_ends_the_process_at_once(
    batchkms: Program, tmp_path: Path
) -> None:
    _inventory(batchkms, 5000)
    called = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", "--key-id", "k"),
            *("--endpoint", endpoint),
            cwd=batchkms.folder,
            env=batchkms.environ(
                {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
            ),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        await asyncio.wait_for(called.wait(), 20)
        process.send_signal(signal.SIGINT)
        assert b"interrupted" in await asyncio.wait_for(process.stderr.readline(), 10)
        process.send_signal(signal.SIGINT)
        rest = await asyncio.wait_for(process.stderr.read(), 5)
        assert await asyncio.wait_for(process.wait(), 5) == 130
    assert b"Traceback" not in rest


async def test_a_reader_of_stdout_that_goes_away_stops_the_run(
    batchkms: Program, kms: Emulator
) -> None:
    _inventory(batchkms, 3000)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "-", *target(kms)),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = await asyncio.wait_for(process.stdout.readline(), 20)
    assert json.loads(first)["status"] == "ok"
    process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way
    stderr = await asyncio.wait_for(process.stderr.read(), 20)
    assert await process.wait() == 3
    assert b"batchkms: error: stdout was closed by its reader\n" in stderr
    assert b"Traceback" not in stderr


async def _started(batchkms: Program, kms: Emulator) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.PIPE,
    )
