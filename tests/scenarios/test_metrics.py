"""`--metrics` of real runs: scraped while they run, and never in the way of one."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, results_in
from tests.scenarios.ended import credentials, target

Told = dict[tuple[str, str], float]


@asynccontextmanager
async def _running(
    batchkms: Program, kms: Emulator, *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A command with metrics on a free port: its process, and the URL that it says."""
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*arguments, "--metrics", ":0"),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        while line := await process.stderr.readline():
            if line.startswith(b"batchkms: metrics are at "):
                break
        yield process, line.decode().split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _scraped(url: str) -> Told:
    """The samples by name and label `class` or `group`, and the command by its name."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, next((sample.labels[of] for of in _OF if of in sample.labels), "")): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


_OF = ("class", "group", "command", "le")


async def _scraped_until(url: str, condition: Callable[[Told], bool]) -> Told:
    async with asyncio.timeout(20):
        while True:
            told = await _scraped(url)
            if condition(told):
                return told
            await asyncio.sleep(0.05)


async def _encrypted(batchkms: Program, kms: Emulator, rows: int, *options: str) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=rows))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", *target(kms), *options),
        environ=credentials(kms),
    )
    assert ended.code in (0, 4), ended.stderr


def _manifest(batchkms: Program) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())
    return manifest


def _sum(segments: list[dict[str, Any]], name: str) -> int:
    return sum(window[name] for segment in segments for window in segment["windows"])


async def test_a_run_is_told_while_it_runs(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=120))
    kms.faults.add({"action": "Encrypt", "code": "InternalError", "times": 5})
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "40", *target(kms))
    async with _running(batchkms, kms, *command) as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
        first = await _scraped_until(url, lambda told: told["batchkms_rows_total", "ok"] > 10)
        later = await _scraped_until(url, lambda told: told["batchkms_rows_total", "ok"] > 50)
        stdout, stderr = await process.communicate()
    assert (process.returncode, stdout) == (0, b""), stderr
    for told in (first, later):
        assert told["batchkms_info", "encrypt"] == 1
        assert told["batchkms_rate_limit_calls_per_second", "crypt"] == 40
        calls, retries = told["batchkms_calls_total", ""], told["batchkms_retries_total", ""]
        done, in_flight = told["batchkms_rows_total", "ok"], told["batchkms_in_flight_calls", ""]
        assert retries <= 5
        assert done <= calls <= done + in_flight + 5
        assert told["batchkms_call_latency_seconds_count", ""] == done
        assert told["batchkms_call_latency_seconds_bucket", "+Inf"] == done
        assert told["batchkms_input_rows_total", ""] == 120
        assert told["batchkms_input_share", ""] == pytest.approx(done / 120)
        assert told["batchkms_queue_rows", ""] <= 120 - done
    assert later["batchkms_retries_total", ""] == 5
    assert first["batchkms_calls_total", ""] < later["batchkms_calls_total", ""]
    # It is there for this run alone.
    with pytest.raises(aiohttp.ClientConnectionError):
        await _scraped(url)
    manifest = _manifest(batchkms)
    assert "metrics" not in manifest["settings"]
    (segment,) = manifest["timeline"]
    counts = manifest["counts"]
    for name in ("calls", "ok", "failed", "retries", "throttled"):
        assert _sum([segment], name) == counts[name]
    assert counts["calls"] == 125


async def test_verify_and_retry_are_told_too(batchkms: Program, kms: Emulator) -> None:
    kms.faults.add({"action": "Encrypt", "code": "InternalError", "times": 40})
    await _encrypted(batchkms, kms, 100, "--max-attempts", "1", "--concurrency", "1")
    retry = ("retry", "out.jsonl", "--endpoint", kms.endpoint, "--rate", "25")
    async with _running(batchkms, kms, *retry) as (process, url):
        told = await _scraped_until(url, lambda told: told["batchkms_calls_total", ""] > 5)
        assert told["batchkms_info", "retry"] == 1
        assert told["batchkms_kept_rows", ""] == 60
        _, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    assert [_sum([each], "ok") for each in _manifest(batchkms)["timeline"]] == [60, 40]
    verify = ("verify", "out.jsonl", "--against", "in.jsonl", "--endpoint", kms.endpoint)
    async with _running(batchkms, kms, *verify, "--rate", "60") as (process, url):
        told = await _scraped_until(url, lambda told: told["batchkms_rows_total", "ok"] > 10)
        assert told["batchkms_info", "verify"] == 1
        _, stderr = await process.communicate()
    assert process.returncode == 0, stderr


async def test_a_run_that_is_interrupted_ends_at_once_and_goes_on_in_its_timeline(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=150))
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms))
    async with _running(batchkms, kms, *command, "--rate", "40") as (process, url):
        port = int(url.rpartition(":")[2].partition("/")[0])
        hanging = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        hanging[0][1].write(b"GET /metrics HTTP/1.1\r\n")
        hanging[1][1].write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 5_000)
        await _scraped_until(url, lambda told: told["batchkms_rows_total", "ok"] > 10)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            _, stderr = await process.communicate()
        for _, writer in hanging:
            writer.transport.abort()
    assert process.returncode == 130
    told = stderr.decode().splitlines()
    assert all(line.startswith("batchkms: ") for line in told), "nothing of the server's own"
    assert [line for line in told if "warning" in line] == [
        "batchkms: warning: interrupted: waiting for the calls in flight; "
        "interrupt again to leave at once"
    ]
    (first,) = _manifest(batchkms)["timeline"]
    done = _sum([first], "ok")
    assert done == len(results_in(batchkms.folder / "out.jsonl.partial")) > 10
    ended = await batchkms.beside(*command, "--resume", "--rate", "off", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    manifest = _manifest(batchkms)
    assert manifest["timeline"][0] == first
    assert [_sum([each], "ok") for each in manifest["timeline"]] == [done, 150 - done]
    assert first["started_at"] < manifest["timeline"][1]["started_at"]
    assert (await batchkms.beside("audit", "out.jsonl")).code == 0


async def test_a_port_in_use_is_told_before_anything_is_done(
    batchkms: Program, kms: Emulator
) -> None:
    kms.faults.add({"action": "Encrypt", "code": "InternalError", "times": 3})
    await _encrypted(batchkms, kms, 20, "--max-attempts", "1", "--concurrency", "1")
    before = _contents(batchkms.folder)
    calls = kms.stats.as_json()["actions"]
    common = ("--endpoint", kms.endpoint, "--rate", "auto")
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        for command in (
            ("encrypt", "in.jsonl", "-o", "new.jsonl", "--key-id", kms.demo_key_id),
            ("retry", "out.jsonl"),
            ("verify", "out.jsonl", "--against", "in.jsonl"),
        ):
            ended = await batchkms.beside(
                *command, *common, "--metrics", where, environ=credentials(kms)
            )
            assert (ended.code, ended.errors) == (
                2,
                [
                    f"metrics cannot be served at {where}: another program listens there, "
                    "maybe another run"
                ],
            )
            assert ended.hints == ["give --metrics another port, or port 0 for any free one"]
    assert _contents(batchkms.folder) == before
    assert kms.stats.as_json()["actions"] == calls, "not even the quota was asked for"
    # A run that has finished serves nothing, and needs no port.
    ended = await batchkms.beside(
        *("retry", "out.jsonl", "--endpoint", kms.endpoint, "--metrics", ":0"),
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


async def test_the_steps_of_a_job_serve_one_after_the_other_on_one_port(
    batchkms: Program, kms: Emulator
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    batchkms.write("in.jsonl", inventory("jsonl", rows=10))
    batchkms.write(
        "job.toml",
        f"""
metrics = "localhost:{port}"
endpoint = "{kms.endpoint}"
key-id = "{kms.demo_key_id}"

[[step]]
command = "check"
input = "in.jsonl"

[[step]]
command = "encrypt"
input = "in.jsonl"
output = "out.jsonl"

[[step]]
command = "verify"
input = "out.jsonl"
against = "in.jsonl"
""",
    )
    ended = await batchkms.beside("run", "job.toml", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    assert ended.stderr.count(f"batchkms: metrics are at http://127.0.0.1:{port}/metrics\n") == 2
    refused = await batchkms.beside("check", "in.jsonl", "--metrics", ":0")
    assert refused.code == 2
    assert "--metrics" in refused.errors[0]
