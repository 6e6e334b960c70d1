"""`batchkms loadtest --processes` as a program: one test, whoever makes its calls."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.emulators import Service, running_service
from tests.scenarios.ended import credentials, larger, target, until

PATIENT = ("--lag-limit", "5s")
"""What a busy machine does to the generators is not the subject here."""

CANARY = "canary-4711"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An emulator without a rate limit, for all tests of this file."""
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def calls_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def started(batchkms: Program, service: Service, *arguments: str) -> subprocess.Popen[str]:
    """A test of ten minutes by two processes, in a process group of its own."""
    return subprocess.Popen(
        batchkms.command(
            *("loadtest", *service.target, "--rate", "50", "--duration", "10m", *PATIENT),
            *("--processes", "2", "-o", "calls.jsonl", "--summary", "json", *arguments),
        ),
        cwd=batchkms.folder,
        env=batchkms.environ(service.credentials),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def busy_children_of(process: subprocess.Popen[str], folder: Path) -> list[int]:
    """Its processes, once calls have come from both."""
    partial = folder / "calls.jsonl.partial"
    until(larger(partial, 3_000), process=process)
    return children_of(process)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Its processes."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(found) == 2
    return [int(each) for each in found]


def _number(call: dict[str, Any]) -> int:
    """Which one of the schedule it is, at 401/s."""
    return round(float(call["scheduled"]) * 401)


def running(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def test_calls_are_those_of_one_process(batchkms: Program, kms: Emulator) -> None:
    ended = await batchkms.beside(
        *("loadtest", *target(kms), "--rate", "401", "--duration", "2s", "--processes", "3"),
        *("--warmup", "500ms", "--slo", "errors==0", "--slo-window", "500ms", *PATIENT),
        *("-o", "calls.jsonl", "--summary", "json"),
        environ=credentials(kms),
    )
    told = json.loads(ended.stdout)
    assert (ended.code, ended.errors, told["valid"]) == (0, [], True), ended.stderr
    assert told["generator"]["processes"] == 3
    assert told["rate"]["achieved"] == pytest.approx(401, rel=0.05)
    assert told["rate"]["target"] == pytest.approx(401, rel=0.001)
    assert told["slos"][0]["windows"] == 3
    calls = calls_of(batchkms.folder / "calls.jsonl")
    # One schedule: no gap, and none twice, whichever process made the call.
    assert sorted(call["scheduled"] for call in calls) == pytest.approx(
        [number / 401 for number in range(802)], abs=1e-6
    )
    assert {name: each.ok for name, each in kms.stats.actions.items() if each.ok} == {
        "Encrypt": 802
    }
    # All of them count from one moment: no process begins its calls later than the others.
    waited = [
        median(call["sent"] - call["scheduled"] for call in calls if _number(call) % 3 == each)
        for each in range(3)
    ]
    assert min(waited) >= 0
    assert max(waited) - min(waited) < 0.02
    assert told["calls"] + told["warmup_calls"] == 802
    assert len({call["request_id"] for call in calls}) == 802
    assert sum(call.get("warmup", False) for call in calls) == told["warmup_calls"]


def test_users_and_connections_are_shared_and_rows_go_round(
    batchkms: Program, service: Service
) -> None:
    rows = "".join(f'{{"id":"{n}","plaintext":"{CANARY}-{n:02}"}}\n' for n in range(7))
    batchkms.write("in.jsonl", rows)
    ended = batchkms(
        *("loadtest", "in.jsonl", *service.target, "--closed", "--concurrency", "5"),
        *("--duration", "1s", "--processes", "2", "--action", "encrypt=1,generate-data-key=1"),
        *("-o", "calls.jsonl", "--summary", "json", *PATIENT),
        environ=service.credentials,
    )
    told = json.loads(ended.stdout)
    assert told["connections"]["most"] == told["connections"]["opened"] == 5
    assert told["classes"]["ok"] == told["calls"] > 100
    encrypts, keys = (told["actions"][name]["calls"] for name in ("encrypt", "generate-data-key"))
    assert abs(encrypts - keys) <= 2
    # Whether generators or server were the limit is the machine's matter.
    assert ended.code == (0 if told["valid"] else 6)
    written = b"".join(path.read_bytes() for path in batchkms.folder.glob("calls.jsonl*"))
    assert CANARY.encode() not in written + ended.stdout.encode() + ended.stderr.encode()


def test_metrics_and_progress_are_sums_over_all_processes(
    batchkms: Program, service: Service
) -> None:
    process = started(batchkms, service, "--metrics", ":0", "--progress", "always")
    assert process.stderr is not None
    url = process.stderr.readline().split()[-1]
    partial = batchkms.folder / "calls.jsonl.partial"
    # About a hundred calls, so that those of the last moments are few among them.
    until(lambda: partial.exists() and partial.stat().st_size > 15_000)
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the program's own, on this machine
        lines = answer.read().decode().splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    summary = json.loads(stdout)
    assert process.returncode == 130, stderr
    # All that were due but for the last ones; one process of two makes half of them.
    calls = float(told['batchkms_loadtest_calls_total{action="encrypt",class="ok"}'])
    asked = float(told["batchkms_loadtest_asked_calls_total"])
    assert 0.75 * asked < calls <= asked
    assert calls <= summary["calls"] == len(calls_of(batchkms.folder / "calls.jsonl"))
    assert float(told["batchkms_loadtest_connections"]) >= 2
    # The display has been drawn anew at least once since, as it is several times a second.
    display = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stderr)
    shown = [int(each.replace(",", "")) for each in re.findall(r"ok ([0-9,]+) · failed 0", display)]
    assert 0.75 * asked < shown[-1] <= summary["calls"]
    connections = [int(each) for each in re.findall(r"· connections ([0-9,]+) ·", display)]
    assert 2 <= max(connections) <= summary["connections"]["most"]


def test_an_interrupt_of_the_whole_group_ends_it_with_its_figures(
    batchkms: Program, service: Service
) -> None:
    process = started(batchkms, service)
    children = busy_children_of(process, batchkms.folder)
    told_them = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    told = json.loads(stdout)
    assert (process.returncode, told["state"], told["valid"]) == (130, "interrupted", True), stderr
    calls = calls_of(batchkms.folder / "calls.jsonl")
    assert len(calls) == told["calls"] > 5
    numbers = sorted(round(call["scheduled"] * 50) for call in calls)
    assert numbers == list(range(len(numbers)))
    assert not any(running(pid) for pid in children)
    assert service.secret_key.encode() not in b"".join(told_them)


async def test_a_second_interrupt_leaves_at_once_and_nobody_behind(
    batchkms: Program, service: Service
) -> None:
    all_connected = asyncio.Event()
    writers = []

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if len(writers) == 4:
            all_connected.set()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mute = replace(service, endpoint=f"http://127.0.0.1:{port}")
        process = started(batchkms, mute, "--timeout", "60s", "--max-connections", "4")
        assert process.stderr is not None
        async with asyncio.timeout(20):
            await all_connected.wait()
        children = children_of(process)
        process.send_signal(signal.SIGINT)
        assert "interrupted: waiting" in await asyncio.to_thread(process.stderr.readline)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 130
        process.communicate()
        until(lambda: not any(running(pid) for pid in children))
        for writer in writers:
            writer.close()


def test_whoever_is_killed_none_is_left_behind(batchkms: Program, service: Service) -> None:
    process = started(batchkms, service)
    children = busy_children_of(process, batchkms.folder)
    process.kill()
    process.communicate(timeout=20)
    until(lambda: not any(running(pid) for pid in children))


def test_a_process_that_is_killed_ends_the_test(batchkms: Program, service: Service) -> None:
    process = started(batchkms, service)
    children = busy_children_of(process, batchkms.folder)
    os.kill(children[1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=20)
    told = json.loads(stdout)
    assert process.returncode == 3
    assert "was killed by SIGKILL" in told["error"]["message"]
    assert told["error"]["hint"]
    assert (told["state"], told["valid"]) == ("aborted", False)
    assert "of 2 was killed by SIGKILL" in told["invalid"][0]
    # What was measured is kept, and is whole in itself.
    assert len(calls_of(batchkms.folder / "calls.jsonl.partial")) == told["calls"] > 5
    assert not any(running(pid) for pid in children), stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--closed", "--concurrency", "3", "--processes", "4"), "4 processes cannot share 3"),
        (("--max-connections", "1", "--processes", "2"), "2 processes cannot share 1 connection"),
        (("--processes", "0"), "--processes"),
        (("--processes", "2", "--action", "decrypt"), "decrypt needs a file with ciphertexts"),
        (("--deadline", "5s"), "--deadline goes with --max-attempts"),
        (("--key-field", "key"), "--key-field goes with an input"),
    ],
)
def test_what_makes_no_sense_is_told_before_any_call(
    batchkms: Program, service: Service, arguments: tuple[str, ...], message: str
) -> None:
    ended = batchkms("loadtest", *service.target, *arguments, environ=service.credentials)
    assert (ended.code, ended.stdout) == (2, ""), ended.stderr
    assert message in ended.errors[0]
    assert ended.hints
