"""`batchkms run`: steps one after the other, and where the list stops."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, larger, until_it
from tests.scenarios.moving import assert_same, calls, killed_in_the_middle, results
from tests.sources.inventory import Row, to_jsonl

THREE = """
[[step]]
command = "encrypt"
input = "in.jsonl"
output = "enc.jsonl"

[[step]]
command = "reencrypt"
input = "enc.jsonl"
output = "re.csv"

[[step]]
command = "decrypt"
input = "re.csv"
output = "dec.jsonl"
"""


def _rows(count: int) -> list[Row]:
    return [Row(f"row-{n}", f"example {n}", '{"app":"a"}') for n in range(1, count + 1)]


def _told(stderr: str) -> list[str]:
    """The lines about steps, without their prefix."""
    lines = [line.removeprefix("batchkms: ") for line in stderr.splitlines()]
    return [line for line in lines if line.startswith(("step ", "warning: stopped"))]


def _target(kms: Emulator, rate: str = "off") -> list[str]:
    return ["--endpoint", kms.endpoint, "--key-id", kms.demo_key_id, "--rate", rate]


def test_with_the_emulator_keys_and_ciphertexts_stay_between_steps(batchkms: Program) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(20)))
    batchkms.write("job.toml", THREE)
    ended = batchkms("run", "job.toml", "--emulator")
    assert (ended.code, ended.stdout, ended.errors) == (0, "", []), ended.stderr
    assert_same(_rows(20), results(batchkms.folder / "dec.jsonl"))
    assert _told(ended.stderr) == [
        "step 1 of 3: encrypt in.jsonl → enc.jsonl",
        "step 2 of 3: reencrypt enc.jsonl → re.csv",
        "step 3 of 3: decrypt re.csv → dec.jsonl",
    ]
    assert ended.stderr.count("batchkms: finished: 20 rows") == 3


async def test_steps_that_have_finished_are_passed_over(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(5)))
    batchkms.write("job.toml", THREE)
    command = ("run", "job.toml", *_target(kms), "--resume")
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    before = calls(kms)
    (batchkms.folder / "dec.jsonl").unlink()
    (batchkms.folder / "dec.jsonl.run.json").unlink()
    (batchkms.folder / "dec.jsonl.run.sums").unlink()
    ended = await batchkms.beside(*command, "--summary", "json", environ=credentials(kms))
    assert (ended.code, ended.errors) == (0, [])
    summaries = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [summary["command"] for summary in summaries] == ["encrypt", "reencrypt", "decrypt"]
    assert [summary["ok"] for summary in summaries] == [5, 5, 5]
    assert calls(kms) == {**before, "Decrypt": 10}


async def test_nothing_is_sent_if_a_later_step_is_wrong(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(5)))
    batchkms.write("job.toml", THREE + "ratee = 5\n")
    ended = await batchkms.beside("run", "job.toml", *_target(kms), environ=credentials(kms))
    assert (ended.code, calls(kms)) == (2, {})
    assert ended.errors == ["job.toml: step 3: there is no option 'ratee'"]
    assert ended.hints == ["the nearest name is 'rate'"]
    assert not (batchkms.folder / "enc.jsonl.run.json").exists()


@pytest.mark.parametrize("allowed", [False, True])
async def test_failed_rows_stop_the_list_unless_they_are_allowed(
    batchkms: Program, kms: Emulator, allowed: bool
) -> None:
    batchkms.write("in.jsonl", to_jsonl([*_rows(3), Row("empty", "")]))
    text = THREE.replace("input =", "allow-failures = true\ninput =") if allowed else THREE
    batchkms.write("job.toml", text)
    ended = await batchkms.beside("run", "job.toml", *_target(kms), environ=credentials(kms))
    assert ended.code == 1
    assert (batchkms.folder / "dec.jsonl").exists() is allowed
    stopped = "warning: stopped at step 1 of 3, exit code 1; 2 not begun"
    assert (_told(ended.stderr)[-1] == stopped) is not allowed
    again = await batchkms.beside(
        "run", "job.toml", *_target(kms), "--resume", environ=credentials(kms)
    )
    assert again.code == 1


async def test_a_step_that_cannot_begin_stops_the_list(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(3)))
    batchkms.write("job.toml", THREE.replace('input = "enc.jsonl"', 'input = "gone.jsonl"'))
    ended = await batchkms.beside("run", "job.toml", *_target(kms), environ=credentials(kms))
    assert ended.code == 2
    assert "gone.jsonl" in ended.errors[0]
    assert _told(ended.stderr)[-1] == "warning: stopped at step 2 of 3, exit code 2; 1 not begun"
    assert (batchkms.folder / "enc.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_list_and_resume_goes_on(
    batchkms: Program, kms: Emulator, number: signal.Signals
) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(300)))
    batchkms.write("job.toml", THREE)
    command = ("run", "job.toml", *_target(kms, "200"))
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*command),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.PIPE,
    )
    partial = batchkms.folder / "re.csv.partial"
    await until_it(process, larger(partial, 500))
    process.send_signal(number)
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130, stderr
    assert b"stopped at step 2 of 3, exit code 130; 1 not begun" in stderr
    again = ("run", "job.toml", *_target(kms), "--resume")
    ended = await batchkms.beside(*again, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    assert_same(_rows(300), results(batchkms.folder / "dec.jsonl"))
    assert (calls(kms)["Encrypt"], calls(kms)["Decrypt"]) == (300, 300)


async def test_sighup_takes_the_rate_of_the_file_in_every_step(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(400)))
    job = batchkms.write("job.toml", "rate = 40\n" + THREE)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("run", "job.toml", *_target(kms)[:4]),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.PIPE,
    )
    partial = batchkms.folder / "enc.jsonl.partial"
    await until_it(process, larger(partial, 500))
    job.write_text("rate = 2000\n" + THREE)
    process.send_signal(signal.SIGHUP)
    partial = batchkms.folder / "re.csv.partial"
    await until_it(process, larger(partial, 500))
    process.send_signal(signal.SIGHUP)
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, stderr
    assert stderr.count(b"the job file was read again: 2,000 calls/s") == 2


RETRIED = """
[[step]]
command = "encrypt"
input = "in.jsonl"
output = "out.jsonl"
max-attempts = 1
allow-failures = true

[[step]]
command = "retry"
output = "out.jsonl"

[[step]]
command = "audit"
output = "out.jsonl"
"""


async def test_a_retry_has_the_last_word_on_its_rows(batchkms: Program, tmp_path: Path) -> None:
    failing = iter(range(10**6))

    def fail(action: str) -> str | None:
        return "InternalError" if action == "Encrypt" and next(failing) in range(0, 20, 2) else None

    batchkms.write("in.jsonl", to_jsonl(_rows(40)))
    batchkms.write("job.toml", RETRIED)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=None, fail=fail) as kms:
        command = ("run", "job.toml", *_target(kms), "--resume")
        ended = await batchkms.beside(*command, environ=credentials(kms))
        assert ended.code == 0, ended.stderr
        assert "10 failed" in ended.stderr
        assert {row["status"] for row in results(batchkms.folder / "out.jsonl").values()} == {"ok"}
        again = await batchkms.beside(*command, environ=credentials(kms))
        assert again.code == 0, again.stderr


async def test_a_list_that_died_in_a_retry_gets_there_again(
    batchkms: Program, tmp_path: Path
) -> None:
    failing = {"now": True, "calls": 0}

    def fail(action: str) -> str | None:
        failing["calls"] += 1
        return "InternalError" if failing["now"] and failing["calls"] % 2 else None

    batchkms.write("in.jsonl", to_jsonl(_rows(800)))
    batchkms.write("job.toml", RETRIED)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=None, fail=fail) as kms:
        first = RETRIED.partition('[[step]]\ncommand = "retry"')[0]
        batchkms.write("first.toml", first)
        ended = await batchkms.beside("run", "first.toml", *_target(kms), environ=credentials(kms))
        assert ended.code == 4, ended.stderr
        failing["now"] = False
        output = batchkms.folder / "out.jsonl"
        kept = sum(len(line) + 1 for line in output.read_bytes().splitlines() if b'"ok"' in line)
        await killed_in_the_middle(
            *(batchkms, kms, "retry", "out.jsonl", "--rate", "150", "--fsync-interval", "50ms"),
            partial="out.jsonl.partial",
            after_bytes=kept + 3_000,
        )
        ended = await batchkms.beside(
            "run", "job.toml", *_target(kms), "--resume", environ=credentials(kms)
        )
        assert ended.code == 0, ended.stderr
        assert "out.jsonl was finished, and its retry was not" in ended.stderr
        assert_ok = {row["status"] for row in results(output).values()}
        assert assert_ok == {"ok"}


LEFT = """
import gc, logging, os, signal, sys
from functools import partial
from batchkms.cli.commands import RUNNABLE
from batchkms.cli.run import run_steps
from batchkms.jobsteps import read_steps

before = gc.get_threshold(), gc.get_freeze_count()
flags = {"emulator": True}
read = partial(read_steps, "job.toml", flags=flags, environ={}, commands=RUNNABLE)
assert run_steps(read) == 0
assert (gc.get_threshold(), gc.get_freeze_count()) == before
assert len(logging.getLogger("batchkms").handlers) == 1
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


async def test_sighup_takes_the_rate_in_a_retry_too(batchkms: Program, tmp_path: Path) -> None:
    failing = {"now": True}

    def fail(action: str) -> str | None:
        return "InternalError" if failing["now"] else None

    batchkms.write("in.jsonl", to_jsonl(_rows(90)))
    head, _, rest = RETRIED.partition('[[step]]\ncommand = "retry"')
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=None, fail=fail) as kms:
        batchkms.write("first.toml", head)
        ended = await batchkms.beside("run", "first.toml", *_target(kms), environ=credentials(kms))
        assert ended.code == 4
        failing["now"] = False
        only = 'rate = {rate}\n[[step]]\ncommand = "retry"' + rest
        job = batchkms.write("job.toml", only.format(rate=5))
        process = await asyncio.create_subprocess_exec(
            *batchkms.command("run", "job.toml", *_target(kms)[:2]),
            cwd=batchkms.folder,
            env=batchkms.environ(credentials(kms)),
            stderr=asyncio.subprocess.PIPE,
        )
        partial = batchkms.folder / "out.jsonl.partial"
        await until_it(process, larger(partial, 0))
        job.write_text(only.format(rate=2000))
        process.send_signal(signal.SIGHUP)
        _, stderr = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0, stderr
    assert b"the job file was read again: 2,000 calls/s" in stderr


def test_a_job_leaves_nothing_behind_for_the_next_one(batchkms: Program) -> None:
    batchkms.write("in.jsonl", to_jsonl(_rows(5)))
    batchkms.write("job.toml", 'rate = "off"\n' + THREE)
    done = subprocess.run(
        [sys.executable, "-c", LEFT],
        cwd=batchkms.folder,
        env=batchkms.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # A handler too many would say each line twice.
    assert done.stderr.count("step 3 of 3") == 1


def test_a_list_of_steps_is_no_file_for_one_command(batchkms: Program) -> None:
    batchkms.write("job.toml", THREE)
    ended = batchkms("encrypt", "--config", "job.toml", "--emulator")
    assert ended.code == 2
    assert ended.hints == ["run them all: batchkms run job.toml"]


async def test_a_dry_run_tells_of_each_step_and_sends_nothing(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", to_jsonl([*_rows(3), Row("empty", "")]))
    verify = 'command = "verify"\ninput = "enc.jsonl"\nagainst = "in.jsonl"'
    check = 'command = "check"\ninput = "in.jsonl"\noutput = "bad.jsonl"'
    retry = 'command = "retry"\noutput = "enc.jsonl"\nclass = "invalid_record"'
    audit = 'command = "audit"\noutput = "enc.jsonl"'
    steps = "".join(f"\n[[step]]\n{each}\n" for each in (check, verify, retry, audit))
    batchkms.write("job.toml", THREE + steps)
    command = ("run", "job.toml", *_target(kms), "--dry-run")
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert (ended.code, ended.errors, "Encrypt" in calls(kms)) == (1, [], False)
    assert len(_told(ended.stderr)) == 7
    assert ended.stderr.count("nothing to look at yet: an earlier step makes enc.jsonl") == 4
    assert {path.name for path in batchkms.folder.glob("*.jsonl*")} == {"in.jsonl"}
    made = ("encrypt", "in.jsonl", "-o", "enc.jsonl", *_target(kms))
    assert (await batchkms.beside(*made, environ=credentials(kms))).code == 1
    files, before = sorted(batchkms.folder.iterdir()), calls(kms)
    ended = batchkms("verify", "enc.jsonl", "--against", "in.jsonl", "--dry-run", *_target(kms)[:2])
    assert (ended.code, ended.errors) == (0, [])
    assert "4 rows, 3 with a ciphertext, all 3 to decrypt: 3 calls" in ended.stderr
    for options, told in (
        ([], "would be done again: 0 of 4\n"),
        (["--class", "invalid_record"], "would be done again: 1 of 4 (invalid_record 1)\n"),
    ):
        ended = batchkms("retry", "enc.jsonl", "--dry-run", *options)
        assert (ended.code, ended.errors, told in ended.stderr) == (0, [], True), ended.stderr
    assert (sorted(batchkms.folder.iterdir()), calls(kms)) == (files, before)


async def test_a_dry_run_of_a_load_test_sends_nothing(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("job.toml", '[[step]]\ncommand = "loadtest"\noutput = "calls.jsonl"\n')
    before = calls(kms)
    ended = await batchkms.beside(
        *("run", "job.toml", *_target(kms, "20"), "--dry-run"), environ=credentials(kms)
    )
    assert (ended.code, ended.errors, calls(kms)) == (0, [], before), ended.stderr
    assert "calls: 1,200\n" in ended.stderr
    assert not (batchkms.folder / "calls.jsonl").exists()


async def test_a_finished_load_test_is_passed_over_and_an_unfinished_one_begun_anew(
    batchkms: Program, kms: Emulator
) -> None:
    load = 'command = "loadtest"\noutput = "calls.jsonl"\nduration = "1s"\nlag-limit = "5s"'
    encrypt = 'command = "encrypt"\ninput = "in.jsonl"\noutput = "enc.jsonl"'
    batchkms.write("in.jsonl", to_jsonl(_rows(2)))
    batchkms.write("job.toml", f"[[step]]\n{load}\n[[step]]\n{encrypt}\n")
    batchkms.write("calls.jsonl.partial", "")
    command = ("run", "job.toml", *_target(kms, "20"), "--resume")
    first = await batchkms.beside(*command, environ=credentials(kms))
    assert (first.code, first.errors) == (0, []), first.stderr
    assert not (batchkms.folder / "calls.jsonl.partial").exists()
    before = calls(kms)
    again = await batchkms.beside(*command, environ=credentials(kms))
    assert (again.code, again.errors, calls(kms)) == (0, [], before), again.stderr
    assert "nothing to do: the load test of calls.jsonl was finished" in again.stderr
