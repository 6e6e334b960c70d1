"""Runs in several processes of which one dies or hangs where it is least expected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import ROWS, assert_all_decrypt, inventory, results_in
from tests.scenarios.ended import credentials, until
from tests.scenarios.teams import Running, alive

GRACE_S = 1.0

SOONER = f"""
import dataclasses, sys
from batchkms import __main__, job
from batchkms.team import member, team

assert member.ENDS_WITHIN_S == team.ENDS_WITHIN_S == 5.0
member.ENDS_WITHIN_S = team.ENDS_WITHIN_S = {GRACE_S}
options_of = job.JobSpec.engine_options
job.JobSpec.engine_options = lambda spec: dataclasses.replace(options_of(spec), drain_grace_s=0.0)
sys.argv[0] = "batchkms"
__main__.run()
"""
"""The program with a grace time that no option can shorten: it is 20 s."""


ANEW = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
"""Beside another thread members are no copies of the parent, but started anew."""


def _frozen(pid: int, count: int, *, anew: bool) -> list[int]:
    """The members of a run, all stopped as soon as the last one is there."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    give_up = time.monotonic() + 20
    # Without a pause: a member may be ready within milliseconds.
    while len(members := [int(member) for member in children.read_text().split()]) < count:
        assert time.monotonic() < give_up
    # One that is stopped before it is a program of its own would stop its parent too, which waits
    # for that.
    while anew and _program(members[-1]) == _program(pid):
        assert time.monotonic() < give_up
    for member in members:
        os.kill(member, signal.SIGSTOP)
    return members


def _program(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def _until_idle(pid: int) -> None:
    """Waits until a process has done what it can do alone."""
    before = -1
    while (now := _cpu_ticks(pid)) != before:
        before = now
        time.sleep(0.3)  # From outside nothing else tells that it waits for others.


@pytest.mark.parametrize("anew", [False, True], ids=["copies", "anew"])
@pytest.mark.parametrize("victim", ["just begun", "ready"])
@pytest.mark.parametrize("others", ["go on", "hang"])
async def test_a_member_that_dies_while_others_start_ends_the_run(
    batchkms: Program, kms: Emulator, victim: str, others: str, anew: bool
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    program = f"{ANEW}\n{SOONER}" if anew else SOONER
    with Running(batchkms, kms, processes=3, program=program) as run:
        members = await asyncio.to_thread(_frozen, run.process.pid, 3, anew=anew)
        if victim == "ready":
            os.kill(members[1], signal.SIGCONT)
            await asyncio.to_thread(_until_idle, members[1])
        os.kill(members[1], signal.SIGKILL)
        if others == "go on":
            await asyncio.to_thread(until, lambda: not alive(members[1]))
            for member in members[::2]:
                os.kill(member, signal.SIGCONT)
        code, told = await run.ended()
    assert code == 3, told
    assert "process 2 of 3 was killed by SIGKILL in the middle" in told
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert "internal error" not in told
    assert not any(map(alive, members))
    # No row was dealt before all of them had begun.
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == 0
    assert not (batchkms.folder / "out.jsonl").exists()
    more = ["--rate", "off", "--processes", "3"]
    ended = await batchkms.beside(*run.command, *more, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


@pytest.mark.parametrize("stopped_by", ["an interrupt", "the death of another"])
async def test_a_member_that_hangs_is_killed_after_the_grace_time(
    batchkms: Program, kms: Emulator, stopped_by: str
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    with Running(batchkms, kms, program=SOONER) as run:
        hanging, other = await run.working()
        os.kill(hanging, signal.SIGSTOP)
        began = time.monotonic()
        if stopped_by == "an interrupt":
            run.process.send_signal(signal.SIGINT)
        else:
            os.kill(other, signal.SIGKILL)
        code, told = await run.ended()
    # Until then it had time to end by itself.
    assert time.monotonic() - began >= GRACE_S
    # So ends every run that loses a process, also one that was interrupted.
    assert code == 3, told
    if stopped_by == "an interrupt":
        assert f"had not ended {GRACE_S:g} s after it was told to, and was killed" in told
    else:
        assert "was killed by SIGKILL in the middle of its work" in told
    assert "Traceback" not in told
    assert not alive(hanging)
    assert not alive(other)
    kept = results_in(batchkms.folder / "out.jsonl.partial")
    assert {row["status"] for row in kept} == {"ok"}
    assert 0 < len(kept) < ROWS
    ended = await batchkms.beside(
        *run.command, "--rate", "off", "--processes", "2", environ=credentials(kms)
    )
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))
    manifest = json.loads((batchkms.folder / "out.jsonl.run.json").read_text())
    assert manifest["resumed"][0]["kept_rows"] == len(kept)


TRAP = """
import os
with open(os.path.join({folder!r}, "sprung"), "a") as file:
    file.write(__file__ + "\\n")
raise SystemExit("a module of the current folder was loaded")
"""

TRAPS = (
    *("asyncio.py", "batchkms/__init__.py", "json.py", "msgspec.py", "orjson.py", "pickle.py"),
    *("runpy.py", "sitecustomize.py", "socket.py", "usercustomize.py", "uvloop.py"),
)


@pytest.mark.parametrize(
    "arguments",
    [
        ("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator", "--rate", "off"),
        ("loadtest", "--emulator", "--rate", "50", "--duration", "300ms", "--lag-limit", "5s"),
    ],
    ids=lambda arguments: arguments[0],
)
async def test_no_process_loads_modules_of_the_current_folder(
    batchkms: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=100))
    (tmp_path / "batchkms").mkdir()
    for name in TRAPS:
        batchkms.write(name, TRAP.format(folder=str(tmp_path)))
    # As the installed program is started: without -P Python itself would look in this folder.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "batchkms", *arguments, "--processes", "2"),
        cwd=tmp_path,
        env=batchkms.environ(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, told = await process.communicate()
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()
    assert process.returncode == 0, told.decode()
    if arguments[0] == "encrypt":
        assert len(results_in(tmp_path / "out.jsonl")) == 100
