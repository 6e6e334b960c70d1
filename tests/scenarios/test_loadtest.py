"""`batchkms loadtest` as a program: against an emulator in a process of its own, and mishaps."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.emulators import Service, running_service
from tests.scenarios.ended import Ended, credentials, larger, target, until

PATIENT = ("--lag-limit", "5s")
"""What a busy machine does to the generator is not the subject here."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An emulator without a rate limit, for all tests of this file."""
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def attack(batchkms: Program, service: Service) -> Any:
    """Runs a load test of the service, with a JSON summary."""

    def run(*arguments: str, **more: Any) -> tuple[Ended, dict[str, Any]]:
        ended = batchkms(
            *("loadtest", *service.target, "--summary", "json", *PATIENT, *arguments),
            environ=service.credentials,
            **more,
        )
        return ended, json.loads(ended.stdout) if ended.stdout else {}

    return run


def calls_of(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_every_file_says_the_same(batchkms: Program, attack: Any) -> None:
    ended, told = attack(
        *("--rate", "200", "--duration", "2s", "--warmup", "500ms", "--seed", "7"),
        *("--action", "encrypt=3,generate-data-key=1", "--slo", "errors==0", "--slo", "p99<5s"),
        *("-o", "calls.jsonl.gz", "--junit", "slo.xml", "--hgrm", "run.hgrm"),
    )
    assert (ended.code, ended.errors, ended.stderr) == (0, [], "")
    assert told["valid"] is True
    assert told["rate"]["target"] == 200
    assert told["rate"]["achieved"] == pytest.approx(200, rel=0.05)
    assert told["classes"] == {"ok": 300}
    assert told["warmup_calls"] == 100
    schedule, send = told["latency_ms"]["from_schedule"], told["latency_ms"]["from_send"]
    assert 0 < schedule["p50"] <= schedule["p90"] <= schedule["p99"] <= schedule["max"]
    assert send["p99"] <= send["max"] <= schedule["max"]
    assert {name: each["calls"] for name, each in told["actions"].items()} == {
        "encrypt": 225,
        "generate-data-key": 75,
    }
    calls = calls_of(batchkms.folder / "calls.jsonl.gz")
    assert len(calls) == 400
    assert sum(call.get("warmup", False) for call in calls) == 100
    assert sorted(call["scheduled"] for call in calls) == pytest.approx(
        [n / 200 for n in range(400)]
    )
    assert all(call["scheduled"] <= call["sent"] <= call["done"] for call in calls)
    assert len({call["request_id"] for call in calls}) == 400
    latest = max(call["done"] - call["scheduled"] for call in calls if "warmup" not in call)
    assert schedule["max"] == pytest.approx(latest * 1000, abs=0.01)
    record = json.loads((batchkms.folder / "calls.jsonl.gz.run.json").read_text())
    assert (record["state"], record["calls"]) == ("finished", 300)
    assert [(slo["text"], slo["held"]) for slo in record["slos"]] == [
        ("errors==0", True),
        ("p99<5s", True),
    ]
    suite = ElementTree.parse(batchkms.folder / "slo.xml").getroot()  # noqa: S314 - our own
    assert suite.attrib["failures"] == "0"
    assert "#[Mean" in (batchkms.folder / "run.hgrm").read_text()
    assert "#[Mean" in (batchkms.folder / "run.send.hgrm").read_text()
    private = [path for path in batchkms.folder.iterdir() if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_the_text_says_it_for_people(batchkms: Program, service: Service) -> None:
    ended = batchkms(
        *("loadtest", *service.target, "--stage", "500ms:0-100", "--stage", "500ms:100"),
        *("--slo", "p99<1us", *PATIENT),
        environ=service.credentials,
    )
    assert (ended.code, ended.stdout, ended.errors) == (6, "", [])
    assert "finished: 75 calls in " in ended.stderr
    assert "latency ms from schedule: p50 " in ended.stderr
    assert "slo p99<1us: FAILED" in ended.stderr or "p99<1us: failed" in ended.stderr.lower()


def test_closed_gives_the_most(attack: Any) -> None:
    ended, told = attack("--closed", "--concurrency", "4", "--duration", "1s")
    assert told["model"] == "closed"
    assert told["rate"]["target"] is None
    assert told["connections"]["most"] <= 4
    assert told["classes"]["ok"] == told["calls"] > 100
    # Whether the generator or the server was the limit is the machine's matter.
    assert ended.code == (0 if told["valid"] else 6)
    assert told["warmup_calls"] == 0


def test_ciphertexts_of_a_result_file_are_decrypted(
    batchkms: Program, service: Service, attack: Any
) -> None:
    rows = "".join(f'{{"id":"{n}","plaintext":"canary-{n:04}"}}\n' for n in range(20))
    batchkms.write("inventory.jsonl", rows + '{"id":"broken"}\n')
    made = batchkms(
        *("encrypt", "inventory.jsonl", "-o", "out.jsonl", *service.target),
        environ=service.credentials,
    )
    assert made.code == 1
    ended, told = attack(
        *("out.jsonl", "--action", "decrypt=2,reencrypt=1,encrypt=1", "--rate", "150"),
        *("--duration", "1s", "-o", "calls.jsonl"),
    )
    assert (ended.code, ended.errors) == (0, [])
    assert told["classes"] == {"ok": 150}
    assert any("1 row of out.jsonl" in note for note in told["notes"])
    written = b"".join(p.read_bytes() for p in batchkms.folder.glob("calls.jsonl*"))
    assert b"canary" not in written + ended.stderr.encode() + ended.stdout.encode()


def test_rows_of_an_inventory_are_encrypted_with_signature_v1(
    batchkms: Program, attack: Any
) -> None:
    batchkms.write("in.csv", "id,secret\n1,first\n2,second\n")
    ended, told = attack(
        *("in.csv", "--plaintext-field", "secret", "--signature", "v1"),
        *("--rate", "50", "--duration", "1s"),
    )
    assert (ended.code, told["classes"]) == (0, {"ok": 50})


async def test_failures_are_figures_and_named(batchkms: Program, tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=20) as kms:
        ended = await batchkms.beside(
            *("loadtest", *target(kms), "--rate", "60", "--duration", "2s", *PATIENT),
            *("--summary", "json"),
            environ=credentials(kms),
        )
    told = json.loads(ended.stdout)
    assert ended.code == 0, ended.stderr
    assert told["classes"]["throttled"] > 40
    code = told["codes"]["RequestLimitExceeded"]
    assert code["calls"] == told["classes"]["throttled"]
    assert len(code["request_ids"]) == 5
    assert told["retries"] == 0
    assert any("--find-max" in step for step in told["next"])


async def test_nothing_is_called_before_the_first_call(batchkms: Program, kms: Emulator) -> None:
    ended = await batchkms.beside(
        *("loadtest", *target(kms), "--rate", "10", "--duration", "1s", *PATIENT),
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr
    assert {name: each.ok for name, each in kms.stats.actions.items() if each.ok} == {"Encrypt": 10}


def test_wrong_credentials_fail_every_call(batchkms: Program, service: Service) -> None:
    ended = batchkms(
        *("loadtest", *service.target, "--rate", "20", "--duration", "500ms", *PATIENT),
        environ={**service.credentials, "TENCENTCLOUD_SECRET_KEY": "wrong"},
    )
    assert ended.code == 1
    assert "unauthorized: 10" in ended.stderr
    assert "check the secret id, secret key" in ended.stderr


def test_an_emulator_of_its_own(batchkms: Program) -> None:
    ended = batchkms(
        *("loadtest", "--emulator", "--data-dir", "kms", "--rate", "50", "--duration", "1s"),
        *PATIENT,
    )
    assert (ended.code, ended.stdout, ended.errors) == (0, "", [])
    assert "50 ok, 0 failed" in ended.stderr


def test_an_emulator_that_cannot_start_says_why(batchkms: Program) -> None:
    batchkms.write("kms", "a file and no folder")
    ended = batchkms("loadtest", "--emulator", "--data-dir", "kms", "--duration", "1s")
    assert ended.code == 2
    assert "the emulator could not be started" in ended.errors[-1]
    assert len(ended.errors) == 2


def test_what_was_not_written_is_not_named(batchkms: Program, service: Service) -> None:
    folder = batchkms.folder / "closed"
    folder.mkdir()
    ended = batchkms(
        *("loadtest", *service.target, "--rate", "20", "--duration", "1s", *PATIENT),
        *("--junit", "/proc/slo.xml", "-o", "calls.jsonl"),
        environ=service.credentials,
    )
    assert ended.code == 2
    assert "/proc/slo.xml cannot be written" in ended.errors[0]
    assert "junit:" not in ended.stderr
    assert list(batchkms.folder.iterdir()) == [folder]


def test_more_connections_than_the_system_allows_are_refused(
    batchkms: Program, service: Service
) -> None:
    def few_files() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    for asked in (("--closed", "--concurrency", "500"), ("--max-connections", "500")):
        ended = batchkms(
            *("loadtest", *service.target, "--duration", "1s", *asked),
            environ=service.credentials,
            preexec=few_files,
        )
        assert ended.code == 2
        assert "this system allows 24 connections, and 500 are asked for" in ended.errors[0]
        assert "ulimit -n" in ended.hints[0]


def test_only_the_faulty_one_of_several_values_is_named(
    batchkms: Program, service: Service
) -> None:
    ended = batchkms(
        *("loadtest", *service.target, "--slo", "p99<50ms", "--slo", "mean<5apples"),
        environ=service.credentials,
    )
    assert ended.code == 2
    assert "(given: 'mean<5apples')" in ended.errors[0]


def test_an_emulator_that_dies_ends_the_test(batchkms: Program) -> None:
    process = subprocess.Popen(
        batchkms.command(
            *("loadtest", "--emulator", "--data-dir", "kms", "--rate", "50", "--duration", "10m"),
            *(*PATIENT, "-o", "calls.jsonl"),
        ),
        cwd=batchkms.folder,
        env=batchkms.environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = batchkms.folder / "calls.jsonl.partial"
    until(larger(partial, 500), process=process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "the emulator of this test was killed by SIGKILL" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--action", "decrypt"), "decrypt needs a file with ciphertexts"),
        (("--action", "sign"), "--action"),
        (("--slo", "p99<50"), "--slo"),
        (("--abort-on-fail",), "--abort-on-fail needs an SLO"),
        (("--stage", "1s:5", "--rate", "5"), "--stage and --rate cannot go together"),
        (("--closed", "--rate", "5"), "--closed and --rate cannot go together"),
        (("--closed", "--find-max"), "--closed and --find-max cannot go together"),
        (("--max-rate", "5"), "--max-rate goes with --find-max"),
        (("--concurrency", "5"), "--concurrency goes with --closed"),
        (("--find-max", "--duration", "5s"), "--find-max and --duration cannot go together"),
        (("--warmup", "2m"), "the warm-up takes all of the time"),
        (("--stage", "5s:0"), "the stages ask for no call at all"),
        (("-o", "same", "--junit", "same"), "--output and --junit name the same file"),
        (("-o", "calls.csv"), "-o writes a line of JSON for each call, and no CSV"),
        (("-o", "-", "--summary", "json"), "calls and summary cannot both go to stdout"),
        (("-o", "gone/calls.jsonl"), "there is no folder gone"),
        (("--junit", "gone/slo.xml"), "there is no folder gone"),
        (("-o", "there.jsonl"), "there.jsonl exists already"),
        (("--junit", "there.jsonl"), "there.jsonl exists already"),
        (("there.jsonl", "--overwrite", "-o", "there.jsonl"), "there.jsonl"),
        (("gone.jsonl",), "gone.jsonl"),
        (("there.jsonl",), "there.jsonl"),
        (("in.jsonl", "--payload-size", "64"), "an input and --payload-size cannot go together"),
        (("--metrics", "127.0.0.1"), "--metrics"),
    ],
)
def test_what_makes_no_sense_is_told_before_any_call(
    batchkms: Program, service: Service, arguments: tuple[str, ...], message: str
) -> None:
    batchkms.write("there.jsonl", "{}\n")
    batchkms.write("in.jsonl", '{"plaintext":"x"}\n')
    ended = batchkms("loadtest", *service.target, *arguments, environ=service.credentials)
    assert (ended.code, ended.stdout) == (2, ""), ended.stderr
    assert message in ended.errors[0]
    assert ended.hints
    assert (batchkms.folder / "there.jsonl").read_text() == "{}\n"
    assert {path.name for path in batchkms.folder.iterdir()} <= {"there.jsonl", "in.jsonl"}


def test_without_a_key_or_region_it_says_so(batchkms: Program) -> None:
    ended = batchkms("loadtest", "--duration", "1s")
    assert ended.code == 2
    assert "no CMK was given" in ended.errors[0] or "no region was given" in ended.errors[0]


def test_an_interrupt_ends_it_with_its_figures(batchkms: Program, service: Service) -> None:
    process = subprocess.Popen(
        batchkms.command(
            *("loadtest", *service.target, "--rate", "50", "--duration", "10m", *PATIENT),
            *("-o", "calls.jsonl", "--summary", "json"),
        ),
        cwd=batchkms.folder,
        env=batchkms.environ(service.credentials),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = batchkms.folder / "calls.jsonl.partial"
    until(larger(partial, 2_000), process=process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    told = json.loads(stdout)
    assert (process.returncode, told["state"]) == (130, "interrupted")
    assert "interrupted: waiting for the calls in flight" in stderr
    assert len(calls_of(batchkms.folder / "calls.jsonl")) == told["calls"] > 5
    assert not partial.exists()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_broken_promise_aborts_the_run(
    batchkms: Program, service: Service, processes: str
) -> None:
    ended = batchkms(
        *("loadtest", *service.target, "--rate", "50", "--duration", "10m", *PATIENT),
        *("--processes", processes),
        *("--slo", "p50<1us", "--slo-window", "1s", "--abort-on-fail", "--summary", "json"),
        environ=service.credentials,
    )
    told = json.loads(ended.stdout)
    assert (ended.code, told["state"]) == (6, "aborted")
    assert told["slos"][0]["failed_windows"][0] == 0
    assert told["calls"] < 500


def test_a_port_where_nobody_listens_fails_every_call(batchkms: Program) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    ended = batchkms(
        *("loadtest", "--endpoint", f"http://127.0.0.1:{port}", "--key-id", "k"),
        *("--rate", "20", "--duration", "500ms", *PATIENT),
        environ={"TENCENTCLOUD_SECRET_ID": "i", "TENCENTCLOUD_SECRET_KEY": "k"},
    )
    assert ended.code == 4
    assert "network: 10" in ended.stderr
    assert "ConnectionRefused" in ended.stderr


def test_a_full_disk_ends_the_run(batchkms: Program, service: Service) -> None:
    def small_files() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    ended = batchkms(
        *("loadtest", *service.target, "--rate", "200", "--duration", "10m", *PATIENT),
        *("-o", "calls.jsonl"),
        environ=service.credentials,
        preexec=small_files,
    )
    assert ended.code == 3
    assert "calls.jsonl.partial cannot be written" in ended.errors[0]
    kept = calls_of(batchkms.folder / "calls.jsonl.partial")
    assert len(kept) > 50
    assert not (batchkms.folder / "calls.jsonl").exists()


def test_metrics_tell_of_it_meanwhile(batchkms: Program, service: Service) -> None:
    process = subprocess.Popen(
        batchkms.command(
            *("loadtest", *service.target, "--rate", "50", "--duration", "10m", *PATIENT),
            *("--metrics", "127.0.0.1:0"),
        ),
        cwd=batchkms.folder,
        env=batchkms.environ(service.credentials),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        host, _, port = line.split("http://")[1].partition("/")[0].rpartition(":")

        def scraped() -> str:
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            with closing(connection):
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()

        name = 'batchkms_loadtest_calls_total{action="encrypt",class="ok"}'
        until(lambda: f"{name} 0.0" not in scraped())
        text = scraped()
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert 'batchkms_loadtest_latency_seconds_count{since="schedule"}' in text
    assert "batchkms_loadtest_asked_calls_total" in text
    assert "batchkms_loadtest_generator_lag_seconds" in text
    assert process.returncode == 130
