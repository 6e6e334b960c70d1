"""Result files as input that are damaged: no row takes the number of another one."""

from __future__ import annotations

import json
import random

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import assert_all_decrypt, killed, results_in, secret
from tests.scenarios.ended import credentials, target

ROWS = 1_200


def _result_file(format: str, broken: set[int]) -> bytes:
    """A complete result file in an order of its own; the lines of some rows are damaged."""
    seqs = list(range(1, ROWS + 1))
    random.Random(4).shuffle(seqs)  # noqa: S311 - an order, not secret
    if format == "csv":
        lines = ["seq,id,status,plaintext"]
        lines += [f"{seq},'=row {seq},ok,{secret(seq)}" for seq in seqs]
    else:
        lines = [
            json.dumps({"seq": seq, "id": f"=row {seq}", "status": "ok", "plaintext": secret(seq)})
            for seq in seqs
        ]
    first = len(lines) - ROWS
    for place in broken:
        lines[first + place] = lines[first + place][:9]
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("broken", [{0}, {ROWS // 2}, {ROWS - 1}, {0, 5, 600, ROWS - 1}], ids=str)
async def test_damaged_rows_have_numbers_of_their_own_and_keep_them_on_resume(
    batchkms: Program, kms: Emulator, format: str, broken: set[int]
) -> None:
    batchkms.write(f"in.{format}", _result_file(format, broken))
    command = ["encrypt", f"in.{format}", "-o", f"out.{format}", "--rate", "500", *target(kms)]
    await killed(batchkms, kms, command, stdin=None, after_bytes=40_000)
    command += ["--rate", "3000"]
    ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert ended.code == 1, ended.stderr
    rows = results_in(batchkms.folder / f"out.{format}")
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["class"] for row in failed} == {"invalid_record"}
    assert len(failed) == len(broken)
    assert sorted(row["seq"] for row in rows) == list(range(1, ROWS + 1))
    good = {row["seq"]: row for row in rows if row["status"] == "ok"}
    await assert_all_decrypt(kms, [*good.values()], seqs=sorted(good))
    audited = batchkms("audit", f"out.{format}")
    assert audited.code == 0, audited.stderr


async def test_one_damaged_row_of_a_complete_result_file_keeps_its_own_number(
    batchkms: Program, kms: Emulator
) -> None:
    content = _result_file("jsonl", set())
    batchkms.write("in.jsonl", content)
    lost = json.loads(content.splitlines()[700])["seq"]
    assert lost != 701
    batchkms.write("in.jsonl", _result_file("jsonl", {700}))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", *target(kms)]
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 1, ended.stderr
    (failed,) = [
        row for row in results_in(batchkms.folder / "out.jsonl") if row["status"] == "failed"
    ]
    assert (failed["seq"], failed["id"]) == (lost, str(lost))
    assert failed["message"].startswith("line 701: ")


def test_rows_that_lie_too_far_apart_are_told_by_every_command(batchkms: Program) -> None:
    rows = (
        f'{{"seq":{1 + n * 65_536},"id":"{n}","status":"ok","key_id":"k","ciphertext":"A",'
        '"attempts":1}\n'
        for n in range(16_400)
    )
    batchkms.write("far.jsonl", "".join(rows))
    told = "row 1073741825: with it the numbers (seq) of the rows lie too far apart"
    for arguments, code in (
        (("check", "far.jsonl"), 2),
        (("inspect", "far.jsonl"), 6),
        (("decrypt", "far.jsonl", "--emulator", "--dry-run"), 2),
    ):
        ended = batchkms(*arguments)
        assert ended.code == code, ended.stderr
        assert told in ended.stderr
        assert "internal error" not in ended.stderr
