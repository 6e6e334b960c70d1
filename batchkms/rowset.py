"""A set of rows by their `seq`, with memory of one bit a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchkms.errors import InputBroken

_CHUNK_BITS = 1 << 16
_CHUNK_BYTES = _CHUNK_BITS // 8
_FULL = b"\xff" * _CHUNK_BYTES

MOST_CHUNKS = 16_384
"""So many stretches are kept, in 128 MiB: a thousand million rows that follow one another."""


class TooFarApart(InputBroken):
    """The rows lie so far apart that their numbers would take any amount of memory."""

    def __init__(self, seq: int) -> None:
        super().__init__(
            f"row {seq}: with it the numbers (seq) of the rows lie too far apart to be kept in "
            f"memory, in more than {MOST_CHUNKS:,} stretches of {_CHUNK_BITS:,}",
            hint="number the rows without large gaps, or leave the column seq out",
        )


class RowSet:
    """The rows that are done, or that were seen.

    Made for ordinals that lie close together: each stretch of 65,536 of them takes 8 KiB once
    one of them is in. A few that lie far apart do no harm; where there are too many of
    them, what takes rows in raises TooFarApart.
    """

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}
        self._count = 0
        self._highest = -1

    def add(self, seq: int) -> bool:
        """Takes a row in. False if it was in already."""
        chunk = self._chunks.get(seq >> 16)
        if chunk is None:
            chunk = self._new_chunk(seq)
        at, bit = (seq & 0xFFFF) >> 3, 1 << (seq & 7)
        if chunk[at] & bit:
            return False
        chunk[at] |= bit
        self._count += 1
        if seq > self._highest:
            self._highest = seq
        return True

    def add_next(self, seqs: Sequence[int]) -> bool:
        """Takes in rows that follow one another, all of them above every other one, if they do.

        As `add` for each of them, only much faster: this is what most inputs are.
        """
        first, count = seqs[0], len(seqs)
        if first <= self._highest or seqs != list(range(first, first + count)):
            return False
        while count > 0:
            at = first & 0xFFFF
            part = min(count, _CHUNK_BITS - at)
            chunk = self._chunks.get(first >> 16)
            if chunk is None:
                chunk = self._new_chunk(first)
            # The bits of `part` rows from `at` on, within the bytes that they touch.
            begin, end = at >> 3, (at + part + 7) >> 3
            bits = ((1 << part) - 1) << (at & 7) | int.from_bytes(chunk[begin:end], "little")
            chunk[begin:end] = bits.to_bytes(end - begin, "little")
            first, count = first + part, count - part
        self._count += len(seqs)
        self._highest = seqs[-1]
        return True

    def _new_chunk(self, seq: int) -> bytearray:
        if len(self._chunks) >= MOST_CHUNKS:
            raise TooFarApart(seq)
        chunk = self._chunks[seq >> 16] = bytearray(_CHUNK_BYTES)
        return chunk

    def missing(self, above: int) -> Iterator[int]:
        """Yields the numbers above this one that are not in the set, smallest first, for ever.

        What is added meanwhile below the last one that came is not looked at again.
        """
        seq = above + 1
        while True:
            end = (seq >> 16) + 1 << 16
            chunk = self._chunks.get(seq >> 16)
            if chunk is None or chunk != _FULL:
                yield from (free for free in range(seq, end) if free not in self)
            seq = end

    def gaps(self, most: int) -> list[tuple[int, int]]:
        """The first stretches without a row between rows, as their first and last number."""
        gaps: list[tuple[int, int]] = []
        after: int | None = None
        for number in sorted(self._chunks):
            base = number << 16
            if self._chunks[number] == _FULL and after == base:
                after = base + _CHUNK_BITS
                continue
            for seq in self._in_chunk(number):
                if after is not None and seq > after:
                    gaps.append((after, seq - 1))
                    if len(gaps) >= most:
                        return gaps
                after = seq + 1
        return gaps

    def bounds(self) -> tuple[int, int] | None:
        """The smallest and the largest row, None if there is none."""
        if not self._count:
            return None
        least, most = min(self._chunks), max(self._chunks)
        return next(self._in_chunk(least)), list(self._in_chunk(most))[-1]

    def _in_chunk(self, number: int) -> Iterator[int]:
        base = number << 16
        for at, byte in enumerate(self._chunks[number]):
            if byte:
                yield from (base + at * 8 + bit for bit in range(8) if byte >> bit & 1)

    def __contains__(self, seq: int) -> bool:
        chunk = self._chunks.get(seq >> 16)
        return chunk is not None and bool(chunk[(seq & 0xFFFF) >> 3] & (1 << (seq & 7)))

    def __len__(self) -> int:
        return self._count
