"""Rows of the greatest documented size, in CSV: every command reads what a run has written."""

from __future__ import annotations

import csv
import json
from typing import Any

from batchkms.emulator import Emulator
from batchkms.records import MAX_ENVELOPE_BYTES
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, killed, results_in
from tests.scenarios.ended import credentials, target

LONG = ("p" + '"\n' * MAX_ENVELOPE_BYTES)[: MAX_ENVELOPE_BYTES - 1]

csv.field_size_limit(2 * MAX_ENVELOPE_BYTES)


def _write(batchkms: Program, rows: list[dict[str, Any]]) -> None:
    batchkms.write("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


async def _assert_all_read_it(batchkms: Program, kms: Emulator) -> None:
    endpoint = ["--endpoint", kms.endpoint]
    for command in (
        ["audit", "out.csv"],
        ["inspect", "out.csv"],
        ["verify", "out.csv", "--against", "in.jsonl", *endpoint],
        ["retry", "out.csv", *endpoint],
        ["decrypt", "out.csv", "-o", "back.csv", *endpoint],
        ["audit", "back.csv"],
        ["inspect", "back.csv"],
    ):
        ended = await batchkms.beside(*command, environ=credentials(kms))
        assert ended.code == 0, (command, ended.stderr)


async def test_the_longest_plaintext_is_read_back_from_csv(
    batchkms: Program, kms: Emulator
) -> None:
    _write(batchkms, [{"id": "long", "plaintext": LONG}, {"id": "b", "plaintext": "short"}])
    command = ["encrypt", "in.jsonl", "-o", "out.csv", "--oversize", "envelope", *target(kms)]
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    await _assert_all_read_it(batchkms, kms)
    back = {row["id"]: row["plaintext"] for row in results_in(batchkms.folder / "back.csv")}
    assert back == {"long": LONG, "b": "short"}


async def test_a_long_column_that_is_kept_is_read_back_from_csv(
    batchkms: Program, kms: Emulator
) -> None:
    _write(batchkms, [{"id": "a", "plaintext": "short", "note": "n" * 140_000}])
    command = ["encrypt", "in.jsonl", "-o", "out.csv", "--keep", "note", *target(kms)]
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    await _assert_all_read_it(batchkms, kms)


async def test_a_run_that_was_killed_with_a_long_row_is_resumed_in_csv(
    batchkms: Program, kms: Emulator
) -> None:
    long = json.dumps({"id": "long", "plaintext": LONG}).encode() + b"\n"
    batchkms.write("in.jsonl", long + inventory("jsonl"))
    command = ["encrypt", "in.jsonl", "-o", "out.csv", "--oversize", "envelope", *target(kms)]
    await killed(
        *(batchkms, kms, [*command, "--rate", "500"]), stdin=None, after_bytes=len(LONG) * 4 // 3
    )
    ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    await _assert_all_read_it(batchkms, kms)
