"""Rows are sent only once the input was found to be that of the run; few are held until then."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from batchkms.errors import InputError
from batchkms.records import Record, Result
from batchkms.rowset import RowSet
from batchkms.runs.fingerprint import MOST_HELD_BYTES, InputRows, Prefix

Batch = list[Record | Result]
ROWS = 12_000
_PLAINTEXT = b"x" * 4_096


async def _batches(rows: int = ROWS) -> AsyncIterator[Batch]:
    for begin in range(1, rows + 1, 100):
        yield [
            Record(seq=seq, id=str(seq), plaintext=_PLAINTEXT) for seq in range(begin, begin + 100)
        ]


async def _prefix() -> Prefix:
    rows = InputRows()
    async for _ in rows.remaining(_batches()):
        pass
    return rows.prefix()


async def test_more_than_32_mib_are_not_held_until_the_input_was_compared() -> None:
    rows = InputRows(expected=await _prefix(), most_held_bytes=MOST_HELD_BYTES)
    with pytest.raises(InputError, match=r"than can be held .* \(32 MiB\)") as raised:
        async for _ in rows.remaining(_batches()):
            raise AssertionError("a row was sent before the input was compared")
    assert "--input FILE" in (raised.value.hint or "")
    assert rows.read * len(_PLAINTEXT) < MOST_HELD_BYTES


async def test_rows_that_are_done_take_no_room() -> None:
    done = RowSet()
    for seq in range(3_001, ROWS + 1):
        done.add(seq)
    rows = InputRows(done=done, expected=await _prefix(), most_held_bytes=MOST_HELD_BYTES)
    left = [item.seq async for batch in rows.remaining(_batches()) for item in batch]
    assert left == list(range(1, 3_001))


async def test_a_shorter_input_is_another_one() -> None:
    rows = InputRows(expected=await _prefix())
    with pytest.raises(InputError, match="it has 500 rows, and the earlier run has read 12,000"):
        async for _ in rows.remaining(_batches(500)):
            pass
