"""Memory that a member shares with its parent: lines go to it that way, and results come back.

Over a socket each row would be copied five times more, either way; here results are written to
the output from where the member has put them. The memory has no name, so that only the parent and
a member that is a copy of it can reach it, and goes with them.

    position of the reader (8 bytes) | unused, up to 64 bytes | room, used in rounds

Positions count all bytes since the beginning. A part is never torn at the end of the room: it
begins anew at its front, and the bytes left out count as used. What finds no room goes over the
socket: nobody ever waits here.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

_HEAD_BYTES = 64
_LINES_BYTES, _RESULTS_BYTES = 1024 * 1024, 4 * 1024 * 1024
"""Lines are taken out at once, results when they were written."""

_OF_TWO = 2
"""More members than so many share what these would have."""


class Place(NamedTuple):
    """Where a part is: the position behind its last byte, and its length."""

    end: int
    size: int


class Memory:
    """What a parent shares with one member: room for lines on their way there, for results back.

    Make it before the member, which is a copy of the parent. Raises OSError without room for it.
    """

    def __init__(self, lines_bytes: int, results_bytes: int) -> None:
        self.lines, self.results = (
            mmap.mmap(-1, _HEAD_BYTES + size) for size in (lines_bytes, results_bytes)
        )

    def close(self) -> None:
        """Lets go of it in a process that it is not for."""
        self.lines.close()
        self.results.close()


def make_memory(members: int) -> Memory | None:
    """Memory for one of so many members; None where there is none to be had.

    That of all members together is at most 10 MiB.
    """
    parts = max(members, _OF_TWO)
    try:
        return Memory(_LINES_BYTES * _OF_TWO // parts, _RESULTS_BYTES * _OF_TWO // parts)
    except OSError:
        return None


class _Shared:
    """Either side's view of a room."""

    def __init__(self, memory: mmap.mmap) -> None:
        whole = memoryview(memory)
        self._reader = whole[:8].cast("Q")
        self._room = whole[_HEAD_BYTES:]


class RingWriter(_Shared):
    """The side that puts parts there."""

    def __init__(self, memory: mmap.mmap) -> None:
        super().__init__(memory)
        self._position = 0

    def put(self, pieces: Sequence[bytes | memoryview]) -> Place | None:
        """Puts a part there, in pieces; None if it has no room now, or is empty.

        One of more than half the room may find none though nothing else is there.
        """
        size, whole = sum(map(len, pieces)), len(self._room)
        if not size:
            return None
        begin, at = self._position, self._position % whole
        if at + size > whole:
            begin, at = begin + whole - at, 0
        end = begin + size
        if end - self._reader[0] > whole:
            return None
        for piece in pieces:
            self._room[at : at + len(piece)] = piece
            at += len(piece)
        self._position = end
        return Place(end, size)


class RingReader(_Shared):
    """The side that takes them."""

    def __init__(self, memory: mmap.mmap) -> None:
        super().__init__(memory)
        self._ends: deque[int] = deque()
        self._let_go: set[int] = set()

    def part(self, place: Place) -> tuple[memoryview, Callable[[], None]]:
        """A part, and what is to be called when it is not needed any more: it stays until then.

        Raises ValueError for a place that is none.
        """
        whole, (end, size) = len(self._room), place
        begin = (end - size) % whole
        if not 0 < size <= whole - begin or (self._ends and end <= self._ends[-1]):
            raise ValueError("what came is no place in the memory that is shared")
        self._ends.append(end)
        return self._room[begin : begin + size], partial(self._free, end)

    def _free(self, end: int) -> None:
        # Parts are overwritten in the order in which they came, whichever is let go of first.
        self._let_go.add(end)
        while self._ends and self._ends[0] in self._let_go:
            first = self._ends.popleft()
            self._let_go.remove(first)
            self._reader[0] = first
