"""What OUT is made of: results that no run has left are told, not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkms.errors import OutputError
from batchkms.records import Result
from batchkms.runs.inplace import _index
from batchkms.runs.rowindex import BLOCK_ROWS, RowIndex
from batchkms.sinks.jsonl import JsonlSink


async def test_results_that_lie_too_far_apart_are_told_with_their_line(tmp_path: Path) -> None:
    rows = [
        Result(seq=1 + n * BLOCK_ROWS, id="a", status="ok", ciphertext="A", attempts=1)
        for n in range(4)
    ]
    path = tmp_path / "out.jsonl.results.jsonl"
    path.write_bytes(b"".join(JsonlSink().encode(rows)))
    with (
        RowIndex(most_blocks=3) as index,
        path.open("rb") as file,
        pytest.raises(OutputError, match=r"results\.jsonl, line 4: row 3073 ") as told,
    ):
        await _index(file, JsonlSink(), index)
    assert told.value.hint
