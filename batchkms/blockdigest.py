"""The digest of an input's first rows, made of blocks that several processes may digest.

Rows are taken in blocks of 16, in the order in which they are read; the digest of some rows is
the SHA-256 of the SHA-256 of each block, the last of which may have fewer. So it does not depend
on who has digested which block, nor on when. A block is small since rows may have a MiB, and a
block is held by one process as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

BLOCK_ROWS = 16


class BlockDigest:
    """The digest of the rows so far, each given as bytes with every boundary in them."""

    def __init__(self) -> None:
        self.rows = 0
        self._blocks = hashlib.sha256()
        self._block = hashlib.sha256()
        self._inside = 0

    def update(self, rows: Sequence[bytes]) -> None:
        """Takes in rows that follow those so far."""
        self.rows += len(rows)
        at = 0
        while at < len(rows):
            part = rows[at : at + BLOCK_ROWS - self._inside]
            self._block.update(b"".join(part))
            self._inside += len(part)
            if self._inside == BLOCK_ROWS:
                self._blocks.update(self._block.digest())
                self._block, self._inside = hashlib.sha256(), 0
            at += len(part)

    def add_blocks(self, digests: bytes, rows: int) -> None:
        """Takes in blocks that were digested elsewhere; only the very last may have fewer rows."""
        self._blocks.update(digests)
        self.rows += rows

    def hexdigest(self) -> str:
        """The digest of the rows so far, in hexadecimal."""
        blocks = self._blocks.copy()
        if self._inside:
            blocks.update(self._block.digest())
        return blocks.hexdigest()
