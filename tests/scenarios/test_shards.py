"""Three machines, one share each, and a merge: what one run would have left, whatever happens."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import assert_all_decrypt, inventory, killed, results_in, secret
from tests.scenarios.ended import Ended, credentials, target
from tests.scenarios.flaky import flaky_service
from tests.scenarios.sharing import OF, all_shares, names

ROWS = 90
ROOT = Path(__file__).parent.parent.parent
SHIM = Path(__file__).parent.parent / "faultfs"
FILES = {"out.jsonl", "out.jsonl.run.json", "out.jsonl.run.sums"}


def _assert_audited(batchkms: Program, *names: str) -> None:
    for name in names:
        audited = batchkms("audit", name)
        assert (audited.code, audited.errors) == (0, []), audited.stderr


@pytest.mark.parametrize(("format", "ordered"), [("jsonl", False), ("csv", True)])
async def test_shares_and_a_merge_come_to_what_one_run_does(
    batchkms: Program, kms: Emulator, format: str, ordered: bool
) -> None:
    batchkms.write(f"in.{format}", inventory(format, rows=ROWS))
    order = ["--ordered"] if ordered else []
    command = ["encrypt", f"in.{format}", *target(kms), *order]
    await all_shares(batchkms, kms, *command, format=format)
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == ROWS
    merged = batchkms("merge", *names(format), "-o", f"out.{format}", "--summary", "json")
    assert (merged.code, merged.stderr) == (0, "")
    told = json.loads(merged.stdout)
    assert (told["rows"], told["ok"], told["ordered"]) == (ROWS, ROWS, ordered)
    rows = results_in(batchkms.folder / f"out.{format}")
    await assert_all_decrypt(kms, rows, ROWS)
    _assert_audited(batchkms, f"out.{format}")
    if ordered:
        one = [*command, "-o", f"one.{format}", "--rate", "off"]
        assert (await batchkms.beside(*one, environ=credentials(kms))).code == 0
        whole = results_in(batchkms.folder / f"one.{format}")
        for key in ("seq", "id", "status", "key_id"):
            assert [row[key] for row in rows] == [row[key] for row in whole]


async def test_every_other_command_takes_it_as_the_output_of_one_run(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    command = ["encrypt", "in.jsonl", *target(kms)]
    await all_shares(batchkms, kms, *command)
    assert batchkms("merge", *names(), "-o", "out.jsonl").code == 0
    calls = kms.stats.as_json()["actions"]["Encrypt"]["calls"]
    for more in (
        ["verify", "out.jsonl", "--against", "in.jsonl", *target(kms)[:2]],
        ["decrypt", "out.jsonl", "-o", "back.jsonl", *target(kms)[:2]],
        ["retry", "out.jsonl"],
        ["report", "out.jsonl"],
        [*command, "-o", "out.jsonl", "--resume"],
    ):
        ended = await batchkms.beside(*more, environ=credentials(kms))
        assert (ended.code, ended.errors) == (0, []), f"{more}: {ended.stderr}"
    back = results_in(batchkms.folder / "back.jsonl")
    assert {row["seq"]: row["plaintext"] for row in back} == {
        seq: secret(seq) for seq in range(1, ROWS + 1)
    }
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] == calls


async def test_each_share_keeps_to_its_part_of_the_rate_and_says_so(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    command = ["encrypt", "in.jsonl", *target(kms), "--rate", "100", "--reserve", "20%"]
    for number, rate in [(1, 27), (2, 27), (3, 26)]:
        name = f"out.{number}.jsonl"
        more = ["-o", name, "--shard", f"{number}/3", "--summary", "json"]
        ended = await batchkms.beside(*command, *more, environ=credentials(kms))
        assert ended.code == 0, ended.stderr
        rows = 7 if number < 3 else 6
        told = {
            **{"number": number, "of": 3, "rows": rows, "input_rows": 20},
            **{"left_to_others": 20 - rows, "calls_per_second": rate},
        }
        summary = json.loads(ended.stdout)
        assert (summary["shard"], summary["rate_limit"]) == (told, rate)
        manifest = json.loads((batchkms.folder / f"{name}.run.json").read_text())
        assert manifest["shard"] == told
        assert [row["seq"] for row in sorted(results_in(batchkms.folder / name), key=_seq)] == [
            *range(number, 21, 3)
        ]
    few = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "x.jsonl", *target(kms), "--rate", "3", "--reserve", "50%"),
        *("--shard", "1/3"),
        environ=credentials(kms),
    )
    assert few.code == 2
    assert "1 calls/s (crypt) cannot be divided among 3 shares" in few.errors[0]
    assert not (batchkms.folder / "x.jsonl.partial").exists()
    dry = await batchkms.beside(
        *(*command, "--shard", "3/3", "--dry-run", "--summary", "json"), environ=credentials(kms)
    )
    told = json.loads(dry.stdout)
    assert (told["rows"], told["calls"], told["shard"]) == (6, 6, "3/3")


def _seq(row: dict[str, Any]) -> int:
    seq: int = row["seq"]
    return seq


async def test_a_share_that_died_is_resumed_as_the_same_one_only(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=900))
    command = ["encrypt", "in.jsonl", "-o", "out.2.jsonl", *target(kms), "--rate", "900"]
    # Enough is done for what follows, and two seconds of work are left.
    slowly = [*command, "--shard", "2/3", "--rate", "450"]
    await killed(batchkms, kms, slowly, stdin=None, after_bytes=8_000)
    refused = batchkms("merge", "out.2.jsonl", "-o", "out.jsonl")
    assert (refused.code, "has not finished" in refused.errors[0]) == (2, True)
    for other, told in (
        [("--shard", "1/3"), "1/3"],
        [("--shard", "2/4"), "2/4"],
        [(), "not given"],
    ):
        ended = await batchkms.beside(*command, "--resume", *other, environ=credentials(kms))
        assert ended.code == 2
        assert f"the --shard was 2/3 and is {told}" in ended.errors[0]
    ended = await batchkms.beside(
        *(*command, "--shard", "2/3", "--resume", "--summary", "json"), environ=credentials(kms)
    )
    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert 0 < summary["kept"] < summary["rows"] == 300
    seqs = [*range(2, 901, 3)]
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.2.jsonl"), seqs=seqs)
    _assert_audited(batchkms, "out.2.jsonl")


async def test_failed_rows_of_a_share_are_retried_before_or_after_the_merge(
    batchkms: Program, tmp_path: Path
) -> None:
    async with flaky_service(tmp_path / "kms") as service:
        kms = service.kms
        batchkms.write("in.jsonl", inventory("jsonl", rows=60))
        command = ["encrypt", "in.jsonl", *target(kms), "--max-attempts", "1", "--ordered"]
        for number, name in enumerate(names(), 1):
            more = ["-o", name, "--shard", f"{number}/{OF}"]
            ended = await batchkms.beside(*command, *more, environ=credentials(kms))
            assert ended.code == 4, ended.stderr
        service.failing = False
        retried = await batchkms.beside("retry", "out.2.jsonl", environ=credentials(kms))
        assert retried.code == 0, retried.stderr
        merged = batchkms("merge", *names(), "-o", "out.jsonl")
        assert merged.code == 4, merged.stderr
        # Ordered, though the rows that were retried stand last in their share.
        rows = results_in(batchkms.folder / "out.jsonl")
        assert [row["seq"] for row in rows] == list(range(1, 61))
        for _ in range(2):
            retried = await batchkms.beside("retry", "out.jsonl", environ=credentials(kms))
            assert retried.code == 0, retried.stderr
        assert service.calls == 60 + 30
        await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 60)
        _assert_audited(batchkms, "out.jsonl")


async def test_shares_through_pipes_are_merged_and_retried_with_a_file_only(
    batchkms: Program, tmp_path: Path
) -> None:
    content = inventory("jsonl", rows=30)
    async with flaky_service(tmp_path / "kms") as service:
        kms = service.kms
        command = ["encrypt", "-", "--format", "jsonl", *target(kms), "--max-attempts", "1"]
        for number, name in enumerate(names(), 1):
            more = ["-o", name, "--shard", f"{number}/{OF}"]
            await batchkms.beside(*command, *more, stdin=content, environ=credentials(kms))
        service.failing = False
        assert batchkms("merge", *names(), "-o", "out.jsonl").code == 4
        piped = ["retry", "out.jsonl", "--input", "-"]
        refused = await batchkms.beside(*piped, stdin=content, environ=credentials(kms))
        assert refused.code == 2
        assert "stdin cannot be compared with their input" in refused.errors[0]
        file = batchkms.write("in.jsonl", content)
        named = ["retry", "out.jsonl", "--input", str(file)]
        retried = await batchkms.beside(*named, environ=credentials(kms))
        assert retried.code == 0, retried.stderr
        await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 30)


async def test_envelopes_and_result_files_are_shared_out_too(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=90))
    await all_shares(batchkms, kms, "encrypt", "in.jsonl", "--mode", "envelope", *target(kms))
    assert batchkms("merge", *names(), "-o", "sealed.jsonl").code == 0
    # Rows with numbers of their own, in an order of their own.
    again = ["--overwrite", "--rate", "30"]
    await all_shares(batchkms, kms, "decrypt", "sealed.jsonl", *target(kms)[:2], *again)
    manifest = json.loads((batchkms.folder / "out.1.jsonl.run.json").read_text())
    assert manifest["shard"]["calls_per_second"] == 10
    merged = batchkms("merge", *names(), "-o", "back.jsonl", "--ordered")
    assert merged.code == 0, merged.stderr
    back = results_in(batchkms.folder / "back.jsonl")
    assert [row["plaintext"] for row in back] == [secret(seq) for seq in range(1, 91)]
    _assert_audited(batchkms, "sealed.jsonl", "back.jsonl")


async def test_a_share_without_rows_is_merged_with_the_others(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=2))
    for number, name in enumerate(names(), 1):
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", name, "--shard", f"{number}/{OF}", *target(kms)),
            environ=credentials(kms),
        )
        assert ended.code == (5 if number == 3 else 0), ended.stderr
    assert ended.errors == ["the share held no records"]
    assert batchkms("merge", *names(), "-o", "out.jsonl").code == 0
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.jsonl"), 2)


async def _dealt(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=30))
    await all_shares(batchkms, kms, "encrypt", "in.jsonl", *target(kms))
    for name in names():
        for path in batchkms.folder.glob(f"{name}*"):
            # What a fault is about is called out.*
            path.rename(path.with_name(path.name.replace("out.", "share.", 1)))


def _merge(batchkms: Program, *more: str, fault: dict[str, str] | None = None) -> Ended:
    shares = [name.replace("out.", "share.") for name in names()]
    return batchkms("merge", *shares, "-o", "out.jsonl", *more, environ=fault)


@pytest.mark.long
async def test_a_merge_is_done_wherever_it_was_killed(batchkms: Program, kms: Emulator) -> None:
    await _dealt(batchkms, kms)
    assert _merge(batchkms).code == 0
    whole = (batchkms.folder / "out.jsonl").read_bytes()
    for again in ([], ["--overwrite"]):
        number, killed_at = 0, True
        while killed_at:
            if not again:
                for path in batchkms.folder.glob("out.*"):
                    path.unlink()
            number += 1
            shim = f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"
            fault = {"PYTHONPATH": shim, "FAULTFS": f"replace+fsync+write+unlink:{number}:KILL"}
            fault["FAULTFS_FIRED"] = str(batchkms.folder / "fired")
            killed_at = _merge(batchkms, *again, fault=fault).code == -signal.SIGKILL
            published = (batchkms.folder / "out.jsonl").exists()
            if published and not again:
                assert _merge(batchkms).code == 2
                _assert_audited(batchkms, "out.jsonl")
                continue
            if published:
                # The old one or the new one, and never a part of it.
                assert (batchkms.folder / "out.jsonl").read_bytes() == whole
            assert _merge(batchkms, *again).code == 0
            assert (batchkms.folder / "out.jsonl").read_bytes() == whole
            assert {path.name for path in batchkms.folder.glob("out.*")} == FILES
            _assert_audited(batchkms, "out.jsonl")
        assert number > 5


async def test_what_a_merge_that_died_has_left_is_for_a_merge(
    batchkms: Program, kms: Emulator
) -> None:
    await _dealt(batchkms, kms)
    shim = f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"
    fault = {"PYTHONPATH": shim, "FAULTFS": "fsync:3:KILL"}
    fault["FAULTFS_FIRED"] = str(batchkms.folder / "fired")
    assert _merge(batchkms, fault=fault).code == -signal.SIGKILL
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--resume", *target(kms)]
    ended = await batchkms.beside(*command, environ=credentials(kms))
    # Nothing there says which rows the input began with.
    assert ended.code == 2, ended.stderr
    assert "is what a merge of shares has left" in ended.errors[0]
    assert _merge(batchkms).code == 0
    _assert_audited(batchkms, "out.jsonl")


@pytest.mark.parametrize(
    ("fault", "code"), [("write:2:ENOSPC", 3), ("fsync:2:EIO", 3), ("replace:3:EACCES", 3)]
)
async def test_a_disk_that_fails_leaves_no_half_of_an_output(
    batchkms: Program, kms: Emulator, fault: str, code: int
) -> None:
    await _dealt(batchkms, kms)
    shim = f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"
    environ = {"PYTHONPATH": shim, "FAULTFS": fault}
    environ["FAULTFS_FIRED"] = str(batchkms.folder / "fired")
    ended = _merge(batchkms, fault=environ)
    assert (ended.code, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert "--resume" not in ended.hints[0]
    assert not (batchkms.folder / "out.jsonl").exists()
    assert _merge(batchkms).code == 0
    _assert_audited(batchkms, "out.jsonl")


async def test_a_share_that_was_edited_is_named_with_exit_code_6(
    batchkms: Program, kms: Emulator
) -> None:
    await _dealt(batchkms, kms)
    path = batchkms.folder / "share.2.jsonl"
    path.write_bytes(path.read_bytes().replace(b"-k-", b"-k+", 1))
    ended = _merge(batchkms)
    assert ended.code == 6
    assert ended.errors == [
        "share.2.jsonl is not as its run left it: its digest is not that of its manifest"
    ]
    assert {path.name for path in batchkms.folder.glob("out.*")} == set()


def test_the_example_of_the_page_runs_as_it_is_written(batchkms: Program) -> None:
    page = (ROOT / "docs" / "shards.md").read_text(encoding="utf-8")
    block = page.partition("<!-- shards -->\n```sh\n")[2].partition("```")[0]
    shutil.copytree(ROOT / "examples", batchkms.folder / "examples")
    lines = block.splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["encrypt", "encrypt", "merge", "audit"]
    for line in lines:
        ended = batchkms(*shlex.split(line)[1:])
        assert (ended.code, ended.errors) == (0, []), f"{line}: {ended.stderr}"


def test_what_the_limit_leaves_out_is_not_said_to_be_of_other_shares(batchkms: Program) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=10))
    share = ["--shard", "1/3", "--emulator", "--rate", "30"]
    for more, told in [
        ([], "share 1/3: 4 of the 10 rows read, 6 left to other shares; 10 calls/s for it"),
        (["--limit", "3"], "3 of the 10 rows read, 6 left to other shares, 1 over --limit; 10"),
    ]:
        ended = batchkms("encrypt", "in.jsonl", "-o", "out.jsonl", "--overwrite", *share, *more)
        assert ended.code == 0, ended.stderr
        assert told in ended.stderr


def test_shares_do_not_go_with_what_needs_every_row(batchkms: Program) -> None:
    batchkms.write("in.csv", "id,plaintext\na,b\n")
    ended = batchkms(
        *("encrypt", "in.csv", "-o", "out.csv", "--emulator", "--in-place-column"),
        *("--shard", "1/2"),
    )
    assert (ended.code, "--in-place-column and --shard" in ended.errors[0]) == (2, True)


def test_a_list_of_steps_takes_no_share_of_a_share(batchkms: Program) -> None:
    steps = [
        '[[step]]\ncommand = "encrypt"\ninput = "in.csv"\noutput = "a.csv"\n',
        '[[step]]\ncommand = "decrypt"\ninput = "a.csv"\noutput = "b.csv"\n',
    ]
    batchkms.write("job.toml", "emulator = true\n" + "".join(steps))
    ended = batchkms("run", "job.toml", environ={"BATCHKMS_SHARD": "1/2"})
    assert ended.code == 2
    assert "step 2 would take the share 1/2 of the rows of step 1" in ended.errors[0]
