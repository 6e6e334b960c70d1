"""Runs in several processes: the same rows as in one, and the same ends."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import ROWS, assert_all_decrypt, inventory, results_in
from tests.scenarios.ended import credentials, target, until
from tests.scenarios.moving import new_key, plaintext, ran, results
from tests.scenarios.teams import Running, alive
from tests.sources.inventory import Row, make_rows, to_csv, to_jsonl

HOSTILE = (
    b'\n \t\r\n{"id":"first","plaintext":"x"}\r\n'
    + b"".join(
        b'{"id":"row %d","plaintext":"secret %d"}\n%s' % (n, n, b"\n" * (n % 3 == 0))
        for n in range(300)
    )
    + b'{"id":"torn","plain\n'
    + b'{"id":"\xff","plaintext":"x"}\n'
    + b"[1]\nnull\n5\n"
    + b'{"id":"none"}\n{"id":"empty","plaintext":""}\n{"id":"number","plaintext":5}\n'
    + b'{"id":"long","plaintext":"%s"}\n' % (b"x" * 4097)
    + b'{"id":"too long","plaintext":"%s"}\n' % (b"x" * 1_100_000)
    + '{"id":"上下文","plaintext":"é","encryption_context":{"a":"中"}}\n'.encode()
    + b'{"id":"bad context","plaintext":"x","encryption_context":{"a":1}}\n'
    + b'{"status":"ok","seq":"no number","id":"damaged","plaintext":"x"}\n'
    + b'   \n{"plaintext":"without an id"}\n\n'
    + b"".join(b'{"id":"more %d","plaintext":"s %d"}\n' % (n, n) for n in range(500))
    + b'{"id":"last","plaintext":"no newline"}'
)


def _told(path: Path) -> dict[int, Any]:
    """What a result file says of each row, but for what differs between two runs."""
    rows = {row["seq"]: row for row in results_in(path)}
    for row in rows.values():
        for name in ("ciphertext", "request_id", "latency_ms", "attempts"):
            row.pop(name, None)
    return rows


def _manifest(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.with_name(f"{path.name}.run.json").read_text())
    return content


@dataclass(frozen=True)
class Threaded(Program):
    """The program beside another thread: its members are no copies of it, but started anew."""

    def command(self, *arguments: str) -> list[str]:
        thread = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
        code = f"import threading; {thread}; from batchkms.cli.main import main; main()"
        return [sys.executable, "-c", code, *arguments]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.jsonl", ("--limit", "333")),
        ("in.jsonl", ("--queue-size", "20", "--ordered")),
        ("in.jsonl.gz", ("--keep", "id2", "--summary", "json")),
        ("-", ("--format", "jsonl")),
    ],
)
async def test_several_processes_give_the_rows_of_one(
    batchkms: Program, kms: Emulator, name: str, options: tuple[str, ...]
) -> None:
    stdin = HOSTILE if name == "-" else b""
    if name != "-":
        batchkms.write(name, gzip.compress(HOSTILE) if name.endswith(".gz") else HOSTILE)
    threaded = Threaded(batchkms.folder, alone=True)
    for program, processes, output in (batchkms, 1, "1"), (batchkms, 3, "3"), (threaded, 2, "2"):
        command = ["encrypt", name, "-o", f"{output}.jsonl", *target(kms), "--rate", "off"]
        more = ["--processes", str(processes), *options]
        ended = await program.beside(*command, *more, stdin=stdin, environ=credentials(kms))
        assert ended.code == 1, ended.stderr
    one, two, three = (batchkms.folder / f"{n}.jsonl" for n in "123")
    assert _told(three) == _told(two) == _told(one)
    if "--ordered" in options:
        assert [row["seq"] for row in results_in(three)] == sorted(_told(one))
    first, second = _manifest(one), _manifest(three)
    assert second["input"] == first["input"]
    for count in ("rows", "ok", "failed", "by_class", "by_key", "calls"):
        assert second["counts"][count] == first["counts"][count]
    assert second["settings"]["processes"] == 3
    audited = await batchkms.beside("audit", "3.jsonl", "--no-input")
    assert audited.code == 0, audited.stderr


def _shapes(keys: list[str]) -> list[Row]:
    """Rows of every shape, for some CMKs in turn, and some that cannot be sent."""
    rows = [
        replace(row, owner=keys[number % len(keys)])
        for number, row in enumerate(make_rows(900, seed=17))
    ]
    for place, bad in (
        (100, Row("empty", "")),
        (450, Row("long", "x" * 4_097)),
        (451, Row("long context", "x", "c" * 1_025)),
    ):
        rows.insert(place, replace(bad, owner=keys[0]))
    return rows


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_class_id_key_and_context_of_every_row_are_those_of_one_process(
    batchkms: Program, kms: Emulator, format: str
) -> None:
    gone = "00000000-0000-0000-0000-000000000000"
    rows = _shapes([kms.demo_key_id, await new_key(kms), kms.demo_key_id, gone])
    torn = b'{"id":"torn","plain' if format == "jsonl" else b"torn"
    content = to_jsonl(rows) if format == "jsonl" else to_csv(rows)
    batchkms.write(f"in.{format}", content + torn + b"\r\n")
    for processes in ("1", "3"):
        await ran(
            *(batchkms, kms, "encrypt", f"in.{format}", "-o", f"{processes}.{format}"),
            *("--key-field", "owner", "--processes", processes),
            code=1,
        )
    one, three = (results(batchkms.folder / f"{n}.{format}") for n in "13")
    assert sorted(three) == sorted(one) == list(range(1, len(rows) + 2))
    for seq, told in three.items():
        for name in ("status", "class", "code", "id", "key_id", "encryption_context"):
            assert told.get(name) == one[seq].get(name), (seq, name)
    for seq, row in enumerate(rows, 1):
        told = three[seq]
        assert told["id"] == (row.id or str(seq))
        if row.id in ("empty", "long", "long context"):
            assert told["class"] == "invalid_record"
            continue
        assert told["key_id"] == row.owner
        assert told.get("encryption_context") == row.context
        if row.owner == gone:
            assert told["class"] == "key_unavailable"
    assert three[len(rows) + 1]["class"] == "invalid_record"
    failed = 4 + sum(row.owner == gone for row in rows)
    assert sum(told["status"] == "failed" for told in three.values()) == failed
    decrypt = ("decrypt", f"3.{format}", "-o", "back.jsonl", "--processes", "3")
    await ran(batchkms, kms, *decrypt, code=1)
    back = results(batchkms.folder / "back.jsonl")
    for seq, row in enumerate(rows, 1):
        if three[seq]["status"] == "ok":
            assert plaintext(back[seq]) == row.plaintext.encode()
            assert back[seq].get("encryption_context") == row.context


async def test_results_and_tables_are_read_row_by_row(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.csv", inventory("csv", rows=400))
    batchkms.write("in.jsonl", inventory("jsonl", rows=400))
    given = credentials(kms)
    for name in ("in.csv", "in.jsonl"):
        command = ["encrypt", name, "-o", f"out.{name}", *target(kms), "--processes", "2"]
        ended = await batchkms.beside(*command, "--rate", "off", environ=given)
        assert ended.code == 0, ended.stderr
        await assert_all_decrypt(kms, results_in(batchkms.folder / f"out.{name}"), 400)
    command = ["decrypt", "out.in.jsonl", "-o", "back.jsonl", "--endpoint", kms.endpoint]
    ended = await batchkms.beside(*command, "--rate", "off", "--processes", "2", environ=given)
    assert ended.code == 0, ended.stderr
    back = {row["seq"]: row["plaintext"] for row in results_in(batchkms.folder / "back.jsonl")}
    assert back == {seq: f"example secret {seq}" for seq in range(1, 401)}


async def test_a_row_that_is_too_long_may_be_all_that_a_process_is_given(
    batchkms: Program, kms: Emulator
) -> None:
    long = b'{"id":"long","plaintext":"%s' % (b"x" * 2_000_000)
    batchkms.write("in.jsonl", inventory("jsonl", rows=512) + long)
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--rate", "off"]
    ended = await batchkms.beside(*command, "--processes", "2", environ=credentials(kms))
    assert ended.code == 1, ended.stderr
    *good, failed = sorted(
        results_in(batchkms.folder / "out.jsonl"), key=lambda row: int(row["seq"])
    )
    assert (failed["seq"], failed["code"]) == (513, "RowTooLong")
    await assert_all_decrypt(kms, good, 512)


@pytest.mark.parametrize("back", ["decrypt", "reencrypt"])
async def test_many_rows_of_one_data_key_are_opened_by_several(
    batchkms: Program, kms: Emulator, back: str
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    given, two = credentials(kms), ["--rate", "off", "--processes", "2"]
    sealed = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--mode", "envelope"]
    ended = await batchkms.beside(*sealed, *two, environ=given)
    assert ended.code == 0, ended.stderr
    command = [back, "out.jsonl", "-o", "back.jsonl", "--endpoint", kms.endpoint, *two]
    if back == "reencrypt":
        command += ["--key-id", kms.demo_key_id]
    ended = await batchkms.beside(*command, environ=given)
    assert ended.code == 0, ended.stderr
    assert len(results_in(batchkms.folder / "back.jsonl")) == ROWS


@pytest.mark.parametrize(("descriptors", "processes"), [(10, 2), (18, 2), (30, 4), (90, 64)])
async def test_too_few_open_files_are_told_before_anything_is_sent(
    batchkms: Program, kms: Emulator, descriptors: int, processes: int
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=5))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, limits[1]))

    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)]
    ended = await asyncio.to_thread(
        batchkms,
        *(*command, "--processes", str(processes)),
        environ=credentials(kms),
        preexec=few,
    )
    assert ended.code == 2, ended.stderr
    assert ended.errors == ["another process cannot be started: Too many open files"]
    assert "ulimit -n" in ended.hints[0]
    assert not (batchkms.folder / "out.jsonl.partial").exists()


async def test_a_result_row_amid_others_is_told_and_one_process_goes_on(
    batchkms: Program, kms: Emulator
) -> None:
    rows = inventory("jsonl", rows=12_000).splitlines(keepends=True)
    odd = b'{"seq":19000,"status":"ok","id":"odd","plaintext":"x"}\n'
    batchkms.write("in.jsonl", b"".join([*rows[:11_500], odd, *rows[11_500:]]))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--rate", "off", "--resume"]
    ended = await batchkms.beside(*command, "--processes", "2", environ=credentials(kms))
    assert ended.code == 3
    assert "row 11,501 of the input, and perhaps some before it, are rows of" in ended.errors[0]
    assert "--resume --processes 1" in ended.hints[0]
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    seqs = sorted(row["seq"] for row in results_in(batchkms.folder / "out.jsonl"))
    assert seqs == sorted([*range(1, 11_501), 19_000, *range(11_502, 12_002)])


async def test_a_run_whose_member_is_killed_is_stopped_and_goes_on(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    run = Running(batchkms, kms)
    members = await run.working()
    assert len(members) == 2
    os.kill(members[0], signal.SIGKILL)
    code, told = await run.ended()
    assert code == 3
    assert "was killed by SIGKILL in the middle of its work" in told
    assert not any(map(alive, members))
    partial = results_in(batchkms.folder / "out.jsonl.partial")
    assert len(partial) < ROWS
    more = ["--rate", "off", "--processes", "3"]
    ended = await batchkms.beside(*run.command, *more, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))
    manifest = _manifest(batchkms.folder / "out.jsonl")
    assert manifest["resumed"][0]["kept_rows"] == len(partial)


async def test_members_go_with_a_parent_that_is_killed(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    run = Running(batchkms, kms)
    members = await run.working()
    run.process.kill()
    await run.ended()
    await asyncio.to_thread(until, lambda: not any(map(alive, members)), within_s=1.0)
    ended = await batchkms.beside(
        *run.command, "--rate", "off", "--processes", "2", environ=credentials(kms)
    )
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


async def test_an_interrupt_of_the_whole_group_drains(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    run = Running(batchkms, kms)
    members = await run.working()
    os.killpg(run.process.pid, signal.SIGINT)
    code, told = await run.ended()
    assert code == 130
    assert "interrupted: waiting for the calls in flight" in told
    assert not any(map(alive, members))
    manifest = _manifest(batchkms.folder / "out.jsonl")
    partial = results_in(batchkms.folder / "out.jsonl.partial")
    assert manifest["state"] == "interrupted"
    assert manifest["counts"]["ok"] == len(partial) == manifest["output"]["rows"]
    ended = await batchkms.beside(*run.command, "--rate", "off", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


async def test_rate_and_concurrency_of_all_of_them_are_read_again(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    job = batchkms.write("job.toml", "rate = 20\nconcurrency = 2\n")
    run = Running(batchkms, kms, "--config", "job.toml", rate=None)
    await run.working(after_bytes=0)
    job.write_text('rate = "off"\nconcurrency = 40\n')
    os.kill(run.process.pid, signal.SIGHUP)
    code, told = await run.ended()
    assert code == 0, told
    assert "the job file was read again: no limit, concurrency 40" in told
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


async def test_failed_rows_are_retried_by_several(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=300))
    given = credentials(kms)
    kms.faults.add({"action": "Encrypt", "code": "InternalError", "times": 40})
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--max-attempts", "1"]
    ended = await batchkms.beside(*command, "--rate", "off", "--processes", "2", environ=given)
    assert ended.code == 4, ended.stderr
    ended = await batchkms.beside("retry", "out.jsonl", "--rate", "off", environ=given)
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 300)
    # As the manifest has it, by which the retry goes.
    assert _manifest(batchkms.folder / "out.jsonl")["settings"]["processes"] == 2


@pytest.mark.parametrize("anew", [False, True])
async def test_members_are_told_secrets_over_their_socket_alone(
    batchkms: Program, kms: Emulator, anew: bool
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    run = Running(Threaded(batchkms.folder) if anew else batchkms, kms)
    members = await run.working()
    assert len(members) == 2
    for member in members:
        own, parents = (
            {name: Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")}
            for pid in (member, run.process.pid)
        )
        assert own["environ"] == parents["environ"]
        *_, module, connection, _ = own["cmdline"].split(b"\0")
        if anew:
            assert module == b"batchkms.cli.memberprocess"
            assert connection.isdigit()
        else:
            assert own == parents
    run.process.kill()
    _, told = await run.ended()
    assert "example secret" not in told


async def test_the_first_hundred_that_all_fail_stop_the_run(
    batchkms: Program, kms: Emulator
) -> None:
    rows = b"".join(b'{"id":"%d","plaintext":""}\n' % n for n in range(5_000))
    batchkms.write("in.jsonl", rows)
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--processes", "2"]
    ended = await batchkms.beside(*command, "--rate", "off", environ=credentials(kms))
    assert ended.code == 3
    assert "the first 100 rows all failed; the last one with EmptyPlaintext" in ended.errors[0]


async def test_too_many_failures_stop_the_run(batchkms: Program, kms: Emulator) -> None:
    rows = [b'{"id":"%d","plaintext":"%s"}\n' % (n, b"x" * (n % 10 > 0)) for n in range(20_000)]
    batchkms.write("in.jsonl", b"".join(rows))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--processes", "2"]
    more = ["--rate", "off", "--max-failures", "5%", "--mode", "envelope"]
    ended = await batchkms.beside(*command, *more, environ=credentials(kms))
    assert ended.code == 3
    assert "failed, more than allowed" in ended.errors[0]


async def test_an_unusable_key_stops_all_of_them(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--endpoint", kms.endpoint]
    more = ["--key-id", "00000000-0000-0000-0000-000000000000", "--processes", "2"]
    ended = await batchkms.beside(*command, *more, environ=credentials(kms))
    assert ended.code == 3
    assert "cannot be used" in ended.errors[0]


async def test_no_credentials_are_told_as_in_one_process(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--processes", "2"]
    ended = await batchkms.beside(*command)
    assert ended.code == 2
    assert not (batchkms.folder / "out.jsonl.partial").exists()


async def test_an_emulator_of_its_own_serves_all_of_them(batchkms: Program) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=200))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator", "--processes", "2"]
    ended = await batchkms.beside(*command, "--mode", "envelope", "--rate", "off")
    assert ended.code == 0, ended.stderr
    assert len(results_in(batchkms.folder / "out.jsonl")) == 200


async def test_the_quota_is_one_for_all_processes(
    batchkms: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("strict")
    batchkms.write("in.jsonl", inventory("jsonl", rows=700))
    async with Emulator(data_dir=folder, rate_limit=200) as kms:
        command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), "--processes", "3"]
        more = ["--rate", "200", "--summary", "json"]
        ended = await batchkms.beside(*command, *more, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["ok"] == 700
    # The test's own loop serves, and may be late by more than the guard: a call in a hundred.
    assert summary["throttled"] <= 7
    assert summary["calls_per_second"] > 150
