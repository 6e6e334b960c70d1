"""The digest of rows is one and the same in whatever pieces they come, and whoever digests them."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from batchkms.blockdigest import BLOCK_ROWS, BlockDigest

_ROWS = st.lists(st.binary(max_size=3), max_size=100)


def _blocks(rows: list[bytes]) -> list[bytes]:
    starts = range(0, len(rows), BLOCK_ROWS)
    return [hashlib.sha256(b"".join(rows[at : at + BLOCK_ROWS])).digest() for at in starts]


@given(_ROWS, st.lists(st.integers(0, 40), max_size=10))
def test_how_rows_are_cut_makes_no_difference(rows: list[bytes], sizes: list[int]) -> None:
    digest, left = BlockDigest(), rows
    for size in sizes:
        digest.update(left[:size])
        left = left[size:]
        digest.hexdigest()
    digest.update(left)
    assert digest.rows == len(rows)
    assert digest.hexdigest() == hashlib.sha256(b"".join(_blocks(rows))).hexdigest()


@given(_ROWS)
def test_blocks_that_others_have_digested_come_to_the_same(rows: list[bytes]) -> None:
    here, elsewhere = BlockDigest(), BlockDigest()
    here.update(rows)
    for at, block in enumerate(_blocks(rows)):
        elsewhere.add_blocks(block, min(BLOCK_ROWS, len(rows) - at * BLOCK_ROWS))
    assert (elsewhere.rows, elsewhere.hexdigest()) == (here.rows, here.hexdigest())


def test_it_tells_any_change_of_rows() -> None:
    seen = set()
    for rows in ([b"a", b"b"], [b"b", b"a"], [b"a"], [b"a"] * 16, [b"a"] * 17, [b"a"] * 32):
        digest = BlockDigest()
        digest.update(rows)
        seen.add(digest.hexdigest())
    assert len(seen) == 6
