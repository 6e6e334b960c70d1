"""Each row of an input is in exactly one share, whatever batches it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import InputBroken
from batchkms.records import Record, Result
from batchkms.shard import Shard
from batchkms.sources import open_source
from batchkms.sources.base import Fields, Source
from batchkms.sources.shares import SharedSource


class _Given:
    """A source of these numbers, in these batches."""

    name = "in.jsonl"
    size_bytes: int | None = 10
    read_bytes = 4
    sha256: str | None = "the digest of the whole"
    unseen: Mapping[str, str] = {"note": "--keep"}

    def __init__(self, batches: list[list[int]]) -> None:
        self.closed = False
        self._batches = batches

    async def batches(self) -> AsyncIterator[list[Record | Result]]:
        """Yields them."""
        for seqs in self._batches:
            yield [Record(seq=seq, id=str(seq), plaintext=b"x") for seq in seqs]

    async def aclose(self) -> None:
        """Notes it."""
        self.closed = True


def _taken(source: Source, shard: Shard) -> tuple[SharedSource, list[int]]:
    shared = SharedSource(source, shard)

    async def read() -> list[int]:
        return [row.seq async for batch in shared.batches() for row in batch]

    return shared, asyncio.run(read())


@given(
    of=st.integers(1, 12),
    seqs=st.lists(st.integers(1, 10_000), unique=True, max_size=80),
    data=st.data(),
)
def test_every_row_is_in_one_share_whatever_the_batches(
    of: int, seqs: list[int], data: st.DataObject
) -> None:
    parts: list[list[int]] = []
    for number in range(1, of + 1):
        # Each machine may well read in pieces of its own.
        cuts = sorted(data.draw(st.sets(st.integers(0, len(seqs)))))
        edges = [0, *cuts, len(seqs)]
        batches = [seqs[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        shared, taken = _taken(_Given(batches), Shard(number, of))
        assert (shared.rows_read, shared.rows_taken) == (len(seqs), len(taken))
        assert taken == seqs[number - 1 :: of]
        parts.append(taken)
    assert sorted(seq for part in parts for seq in part) == sorted(seqs)


def test_what_is_said_of_the_input_is_of_all_of_it() -> None:
    source = _Given([[1, 2, 3]])
    shared, _ = _taken(source, Shard(1, 2))
    for name in ("name", "size_bytes", "read_bytes", "sha256", "unseen"):
        assert getattr(shared, name) == getattr(source, name)
    asyncio.run(shared.aclose())
    assert source.closed


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_number_that_comes_twice_is_told_by_every_share(number: int) -> None:
    with pytest.raises(InputBroken, match="two rows of the input have the seq 4"):
        _taken(_Given([[1, 4], [7, 4, 9]]), Shard(number, 3))


@pytest.mark.parametrize("chunk_ends", [False, True])
def test_rows_of_a_result_file_that_cannot_be_read_are_shared_out_too(
    tmp_path: Path, chunk_ends: bool
) -> None:
    rows = [f'{{"seq":{seq},"id":"{seq}","status":"ok","plaintext":"x"}}' for seq in (5, 3, 1, 4)]
    lines = [*rows[:2], "damaged", *rows[2:]]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines) + "\n" * chunk_ends)
    seqs = []
    for number in (1, 2):
        source = open_source(str(path), format=None, fields=Fields())
        seqs.append(_taken(source, Shard(number, 2))[1])
    # The damaged one comes last, with the number that no other has.
    assert seqs == [[5, 1, 2], [3, 4]]
