"""Which rows a sample takes, and what a verification takes in memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from batchkms.records import Result
from batchkms.runs.rowindex import CHOSEN
from batchkms.runs.verification import Verification
from batchkms.sinks.jsonl import JsonlSink

ROWS = 60


def _output(folder: Path, *, order: int, failed: Collection[int] = ()) -> Path:
    results = [
        Result(seq=seq, id=str(seq), status="failed" if seq in failed else "ok", attempts=1)
        for seq in range(1, ROWS + 1)
    ]
    random.Random(order).shuffle(results)  # noqa: S311 - an order, no secret
    path = folder / "out.jsonl"
    path.write_bytes(b"".join(JsonlSink().encode(results)))
    return path


async def _chosen(path: Path, rows: int, seed: int) -> set[int]:
    with Verification(path, format="jsonl") as verification:
        await verification.read_output()
        verification.choose(rows, seed)
        chosen = {seq for seq, place in verification._index.all_rows() if place.flags & CHOSEN}
        assert verification.chosen == verification.calls == rows
        return chosen


async def test_a_sample_has_its_size_and_is_the_same_in_any_order(tmp_path: Path) -> None:
    failed = {3, 17, 40}
    for seed in range(20):
        chosen = await _chosen(_output(tmp_path, order=1, failed=failed), 9, seed)
        assert len(chosen) == 9
        assert not chosen & failed
        assert await _chosen(_output(tmp_path, order=2, failed=failed), 9, seed) == chosen


async def test_every_row_has_the_same_chance(tmp_path: Path) -> None:
    path, samples, rows = _output(tmp_path, order=1), 400, 15
    counts: Counter[int] = Counter()
    for seed in range(samples):
        counts.update(await _chosen(path, rows, seed))
    expected = samples * rows / ROWS
    # The 0.9999 quantile of chi squared with 59 degrees of freedom is 109.
    assert len(counts) == ROWS
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 109
