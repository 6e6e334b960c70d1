"""Damaged inputs, end to end: a result for each row that was read, and never a traceback."""

from __future__ import annotations

import asyncio
import json

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, target
from tests.sources.test_malformed import damaged

SEEDS = range(24)


@pytest.mark.parametrize("lot", [0, 1, 2])
async def test_every_damaged_input_ends_with_a_class_for_each_row(
    batchkms: Program, kms: Emulator, lot: int
) -> None:
    await asyncio.gather(*(_run(batchkms, kms, seed) for seed in SEEDS if seed % 3 == lot))


async def _run(batchkms: Program, kms: Emulator, seed: int) -> None:
    name, content = damaged(seed)
    folder = batchkms.folder / str(seed)
    folder.mkdir()
    program = Program(folder)
    program.write(name, content)
    ended = await program.beside(
        *("encrypt", name, "-o", "out.jsonl", "--summary", "json", "--rate", "off", *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code in (0, 1, 2, 3, 5), (seed, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "internal error" not in ended.stderr
    assert bool(ended.errors) == (ended.code in (2, 3, 5)), (seed, ended.stderr)
    if ended.code == 2:
        assert not list(folder.glob("out.*")), seed
        return
    summary = json.loads(ended.stdout)
    outputs = [path for path in folder.glob("out.jsonl*") if path.suffix in (".jsonl", ".partial")]
    rows = [json.loads(row) for path in outputs for row in path.read_text().splitlines()]
    assert len(rows) == summary["rows"] == summary["ok"] + summary["failed"], seed
    assert len({row["seq"] for row in rows}) == len(rows)
    assert all(row["status"] == "ok" or row["class"] for row in rows)
