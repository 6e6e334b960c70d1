"""Runs that died and are resumed, retried and audited: no row lost, none twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from itertools import count
from pathlib import Path

import pytest

from batchkms.emulator import Emulator, KeyState
from tests.scenarios.conftest import Program
from tests.scenarios.dying import ROWS, assert_all_decrypt, inventory, killed, results_in
from tests.scenarios.ended import credentials, larger, target, until_it


@pytest.mark.parametrize(
    ("format", "through_stdin"),
    # Both formats and both ways in, each of them compressed and not.
    [("jsonl", False), ("csv", True), ("jsonl.gz", True), ("csv.gz", False)],
)
async def test_a_killed_run_is_resumed(
    batchkms: Program, kms: Emulator, format: str, through_stdin: bool
) -> None:
    content = inventory(format)
    batchkms.write(f"in.{format}", content)
    plain = format.removesuffix(".gz")
    source = ["-", "--format", plain] if through_stdin else [f"in.{format}"]
    command = ["encrypt", *source, "-o", f"out.{plain}", "--rate", "700", *target(kms)]
    stdin = content if through_stdin else None
    for after_bytes in (1_000, 150_000):
        await killed(*(batchkms, kms, [*command, "--resume"]), stdin=stdin, after_bytes=after_bytes)
    ended = await batchkms.beside(
        *(*command, "--resume", "--rate", "off", "--summary", "json"),
        stdin=stdin or b"",
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["rows"] == summary["ok"] == ROWS
    assert 0 < summary["kept"] < ROWS
    assert summary["calls"] == ROWS - summary["kept"]
    await assert_all_decrypt(kms, results_in(batchkms.folder / f"out.{plain}"))
    # Every call beyond one a row was under way, or not written yet, when a run was killed.
    calls = kms.stats.as_json()["actions"]["Encrypt"]["calls"]
    assert calls - ROWS <= 2 * (64 + 700 // 2)
    audited = batchkms("audit", f"out.{plain}")
    assert (audited.code, audited.stdout) == (0, ""), audited.stderr


async def test_a_finished_run_is_not_run_again(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=5) + b'{"id":"broken"}\n')
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--resume", *target(kms)]
    codes = [(await batchkms.beside(*command, environ=credentials(kms))).code for _ in range(2)]
    assert codes == [1, 1]
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == 5


async def test_a_finished_run_of_an_input_that_was_changed_since_is_refused(
    batchkms: Program, kms: Emulator
) -> None:
    content = inventory("jsonl")
    path = batchkms.write("in.jsonl", content)
    assert len(content) > 64 * 1024
    batchkms.write(
        "job.toml", '[[step]]\ncommand = "encrypt"\ninput = "in.jsonl"\noutput = "out.jsonl"\n'
    )
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--resume", *target(kms)]
    steps = ["run", "job.toml", "--resume", *target(kms)]
    for again in (command, command, steps):
        ended = await batchkms.beside(*again, environ=credentials(kms))
        assert (ended.code, ended.errors) == (0, []), ended.stderr
    calls = kms.stats.as_json()["actions"]["Encrypt"]["calls"]
    # The size and the beginning stay as they were.
    path.write_bytes(content[:-9] + bytes(byte ^ 1 for byte in content[-9:-8]) + content[-8:])
    for again in (command, steps):
        ended = await batchkms.beside(*again, environ=credentials(kms))
        assert ended.code == 2, ended.stderr
        assert "in.jsonl was changed since its run finished" in ended.errors[0]
        assert "--overwrite" in ended.hints[0]
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == calls


async def _stopped(batchkms: Program, kms: Emulator, *more: str) -> None:
    """Leaves a run of which a part is done."""
    batchkms.write("in.jsonl", inventory("jsonl"))
    # At a pace at which a busy machine does not look too late.
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "500", *target(kms), *more]
    await killed(batchkms, kms, command, stdin=None, after_bytes=50_000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("key", "the --key-id was"),
        ("field", "the --id-field was id and is name"),
        ("input", "the input's size was"),
        ("rows", "this is another input: its first"),
        ("encoding", "the --encoding was utf8 and is hex"),
        ("format", "the output format was jsonl and is csv"),
    ],
)
async def test_another_run_is_not_resumed(
    batchkms: Program, kms: Emulator, change: str, told: str
) -> None:
    await _stopped(batchkms, kms)
    before = (batchkms.folder / "out.jsonl.partial").read_bytes()
    calls = kms.stats.as_json()["actions"]["Encrypt"]["calls"]
    options: list[str] = target(kms)
    content = inventory("jsonl")
    if change == "key":
        options = ["--endpoint", kms.endpoint, "--key-id", "another-key"]
    elif change == "field":
        options += ["--id-field", "name"]
    elif change == "encoding":
        options += ["--encoding", "hex"]
    elif change == "format":
        options += ["--output-format", "csv"]
    elif change == "input":
        batchkms.write("in.jsonl", content + b"\n")
    elif change == "rows":
        manifest = batchkms.folder / "out.jsonl.run.json"
        noted = json.loads(manifest.read_bytes())
        noted["input"]["read"] = {"rows": 3, "sha256": "0" * 64}
        manifest.write_text(json.dumps(noted))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--resume", *options),
        environ=credentials(kms),
    )
    assert ended.code == 2
    assert told in ended.errors[0]
    assert (batchkms.folder / "out.jsonl.partial").read_bytes() == before
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == calls


async def test_another_input_through_stdin_is_not_taken(batchkms: Program, kms: Emulator) -> None:
    content = inventory("jsonl")
    command = ["encrypt", "-", "--format", "jsonl", "-o", "out.jsonl", "--rate", "300"]
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*command, *target(kms)),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(content)
    partial = batchkms.folder / "out.jsonl.partial"
    await until_it(process, larger(partial, 0))
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 130
    process.stdin.close()
    changed = content.replace(b"example secret 2", b"another secret 2", 1)
    ended = await batchkms.beside(
        *(*command, "--resume", *target(kms)), stdin=changed, environ=credentials(kms)
    )
    assert ended.code == 2
    assert "this is another input: its first" in ended.errors[0]
    ended = await batchkms.beside(
        *(*command, "--resume", *target(kms), "--rate", "off"),
        stdin=content,
        environ=credentials(kms),
    )
    assert ended.code == 0
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


async def test_two_runs_cannot_write_one_output(batchkms: Program, tmp_path: Path) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)]
        first = await asyncio.create_subprocess_exec(
            *batchkms.command(*command),
            cwd=batchkms.folder,
            env=batchkms.environ(credentials(kms)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        partial = batchkms.folder / "out.jsonl.partial"
        await until_it(first, larger(partial, 0))
        for more in ("--resume", "--overwrite"):
            second = await batchkms.beside(*command, more, environ=credentials(kms))
            assert second.code == 2
            assert "another run is writing out.jsonl.partial" in second.errors[0]
        first.terminate()
        assert await first.wait() == 130


async def test_the_limit_may_grow_when_a_run_is_resumed(batchkms: Program, kms: Emulator) -> None:
    await _stopped(batchkms, kms, "--limit", "800")
    before = (batchkms.folder / "out.jsonl.partial").read_bytes()
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", "--resume", *target(kms)]
    refused = await batchkms.beside(*command, "--limit", "700", environ=credentials(kms))
    assert (refused.code, refused.errors) == (2, ["the --limit of this run was 800 and is 700"])
    assert (batchkms.folder / "out.jsonl.partial").read_bytes() == before
    ended = await batchkms.beside(*command, "--limit", "1000", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 1_000)
    for more, told in ((["--limit", "900"], "900"), ([], "not given")):
        refused = await batchkms.beside(*command, *more, environ=credentials(kms))
        assert (refused.code, refused.errors) == (
            2,
            [f"the --limit of this run was 1,000 and is {told}"],
        )


async def test_a_run_that_was_limited_goes_on_without_a_limit(
    batchkms: Program, kms: Emulator
) -> None:
    await _stopped(batchkms, kms, "--limit", "800")
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", "--resume", *target(kms)]
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_an_ordered_run_that_was_killed_keeps_the_order_of_its_input(
    batchkms: Program, kms: Emulator, format: str
) -> None:
    batchkms.write(f"in.{format}", inventory(format))
    command = ["encrypt", f"in.{format}", "-o", f"out.{format}", "--ordered", "--rate", "700"]
    for after_bytes in (1_000, 100_000):
        more = ["--resume", *target(kms)]
        await killed(batchkms, kms, [*command, *more], stdin=None, after_bytes=after_bytes)
    more = ["--resume", "--rate", "off", *target(kms)]
    ended = await batchkms.beside(*command, *more, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    rows = results_in(batchkms.folder / f"out.{format}")
    assert [row["seq"] for row in rows] == list(range(1, ROWS + 1))
    await assert_all_decrypt(kms, rows)


async def test_an_input_that_becomes_shorter_stops_the_run_and_is_resumed_when_whole(
    batchkms: Program, kms: Emulator
) -> None:
    # Rows of 8 KB, of which no more than 300 can have been read ahead.
    wide = b',"note":"' + b"x" * 8_000 + b'"}'
    content = inventory("jsonl", rows=900).replace(b"}", wide)
    path = batchkms.write("in.jsonl", content)
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms)]
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*command, "--rate", "300", "--queue-size", "50"),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.PIPE,
    )
    partial = batchkms.folder / "out.jsonl.partial"
    await until_it(process, larger(partial, 0))
    os.truncate(path, content.index(b"row 700") + 3)
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3, stderr
    assert b"the file has become shorter while it was read" in stderr
    done = results_in(partial)
    assert {row["status"] for row in done} == {"ok"}
    assert sorted(row["seq"] for row in done) == list(range(1, 700))
    refused = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert (refused.code, "the input's size was" in refused.errors[0]) == (2, True)
    path.write_bytes(content)
    more = ["--resume", "--rate", "off"]
    ended = await batchkms.beside(*command, *more, environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 900)


async def test_failed_rows_are_retried_and_the_others_copied(
    batchkms: Program, tmp_path: Path
) -> None:
    calls = count()
    failing = True
    async with Emulator(
        data_dir=tmp_path / "kms",
        rate_limit=None,
        fail=lambda action: "InternalError" if failing and next(calls) % 5 == 0 else None,
    ) as kms:
        batchkms.write("in.csv", inventory("csv", rows=50) + b'"broken",""\r\n')
        command = ["encrypt", "in.csv", "-o", "out.csv", "--max-attempts", "1", *target(kms)]
        ended = await batchkms.beside(*command, environ=credentials(kms))
        assert ended.code == 1
        output = batchkms.folder / "out.csv"
        before = {row["seq"]: row for row in results_in(output)}
        failing = False
        sent = kms.stats.as_json()["actions"]["Encrypt"]["calls"]
        ended = await batchkms.beside("retry", "out.csv", environ=credentials(kms))
        assert (ended.code, ended.errors) == (1, []), ended.stderr
        assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == sent + 10
        after = {row["seq"]: row for row in results_in(output)}
        assert [seq for seq in after if after[seq]["status"] == "failed"] == [51]
        for seq, row in before.items():
            if row["status"] == "ok" or seq == 51:
                assert after[seq] == row
        await assert_all_decrypt(kms, [after[seq] for seq in range(1, 51)], 50)
        assert batchkms("audit", "out.csv").code == 0
        again = await batchkms.beside("retry", "out.csv", environ=credentials(kms))
        assert again.code == 1
        assert "nothing to do" in again.stderr
        wrong = await batchkms.beside("retry", "out.csv", "--class", "slow")
        assert wrong.code == 2


async def test_a_retry_that_dies_leaves_the_output_and_is_resumed(
    batchkms: Program, tmp_path: Path
) -> None:
    failing = True
    async with Emulator(
        data_dir=tmp_path / "kms",
        rate_limit=None,
        fail=lambda action: "InternalError" if failing and next(calls) % 2 else None,
    ) as kms:
        calls = count()
        batchkms.write("in.jsonl", inventory("jsonl", rows=900))
        command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--max-attempts", "1", *target(kms)]
        assert (await batchkms.beside(*command, environ=credentials(kms))).code == 4
        output = batchkms.folder / "out.jsonl"
        before, failing = output.read_bytes(), False
        kept_bytes = sum(len(line) + 1 for line in before.splitlines() if b'"status":"ok"' in line)
        await killed(
            *(batchkms, kms, ["retry", "out.jsonl"]), stdin=None, after_bytes=kept_bytes + 5_000
        )
        assert output.read_bytes() == before
        refused = await batchkms.beside("retry", "out.jsonl", environ=credentials(kms))
        assert (refused.code, "of a retry that did not end" in refused.errors[0]) == (2, True)
        refused = await batchkms.beside(*command, "--resume", environ=credentials(kms))
        assert (refused.code, "batchkms retry" in refused.hints[0]) == (2, True)
        ended = await batchkms.beside("retry", "out.jsonl", "--resume", environ=credentials(kms))
        assert ended.code == 0, ended.stderr
        await assert_all_decrypt(kms, results_in(output), 900)
        assert batchkms("audit", "out.jsonl").code == 0


async def test_an_unusable_key_is_resumed_when_it_is_mended(
    batchkms: Program, kms: Emulator
) -> None:
    await _stopped(batchkms, kms)
    await kms.set_key_state(kms.demo_key_id, KeyState.DISABLED)
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", "--resume", *target(kms)]
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 3
    assert "CmkDisabled" in ended.errors[0]
    assert any("--resume" in line for line in ended.stderr.splitlines())
    await kms.set_key_state(kms.demo_key_id, KeyState.ENABLED)
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 0
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"))


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_audit_names_what_was_changed(batchkms: Program, kms: Emulator, format: str) -> None:
    batchkms.write(f"in.{format}", inventory(format, rows=60))
    name = f"out.{format}"
    command = ["encrypt", f"in.{format}", "-o", name, "--ordered", *target(kms)]
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    path = batchkms.folder / name
    good = path.read_bytes().splitlines(keepends=True)
    first = 1 if format == "csv" else 0

    def line(seq: int) -> int:
        return first + seq - 1

    def audited(lines: list[bytes]) -> str:
        path.write_bytes(b"".join(lines))
        ended = batchkms("audit", name)
        assert ended.stdout == ""
        return f"{ended.code} {ended.stderr}"

    assert audited(good).startswith("0 ")
    edited = list(good)
    edited[line(7)] = edited[line(7)].replace(b"-k-", b"-k-A", 1)
    told = audited(edited)
    assert told.startswith("6 ")
    assert f"line {line(7) + 1}: row 7 was changed" in told
    assert "row 8" not in told
    missing = [*good[: line(9)], *good[line(10) :]]
    told = audited(missing)
    assert "row 9 is missing" in told
    assert "row 10" not in told
    told = audited([*good, good[line(11)]])
    assert "row 11 is there for a second time" in told
    moved = list(good)
    moved[line(20)], moved[line(40)] = moved[line(40)], moved[line(20)]
    told = audited(moved)
    assert told.startswith("6 ")
    assert "row 20 comes later than it did" in told
    told = audited([*good[:-1], good[-1][:-9]])
    assert told.startswith("6 ")
    assert "the last row is torn" in told
    assert audited(good).startswith("0 ")
    source = batchkms.folder / f"in.{format}"
    source.write_bytes(source.read_bytes().replace(b"secret 5", b"Secret 5", 1))
    assert "the digest of the input" in audited(good)
