"""Memory that a member shares with its parent: lines go to it that way, and results come back.

Over a socket each row would be copied five times more, either way; here results are written to
the output from where the member has put them. The memory has no name in any file system, so that
only these two processes can reach it, and goes with them.

    position of the reader (8 bytes) | unused, up to 64 bytes | room, used in rounds

Positions count all bytes since the beginning. A part is never torn at the end of the room: it
begins anew at its front, and the bytes left out count as used. What finds no room, or no such
memory on this system, goes over the socket: nobody ever waits here.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

_HEAD_BYTES = 64
_MOST_BYTES, _MOST_BYTES_OF_ALL = 4 * 1024 * 1024, 8 * 1024 * 1024


class Place(NamedTuple):
    """Where a part is: the position behind its last byte, and its length."""

    end: int
    size: int


def make_memory(members: int) -> list[int]:
    """Descriptors of memory for one of so many members, for lines and for results.

    Each has at most 4 MiB, and those of all members have at most 8 for either. Empty where the
    system has no such memory.
    """
    size = min(_MOST_BYTES, _MOST_BYTES_OF_ALL // members)
    made: list[int] = []
    try:
        if hasattr(os, "memfd_create"):
            for _ in range(2):
                made.append(os.memfd_create("batchkms"))
                os.ftruncate(made[-1], _HEAD_BYTES + size)
    except OSError:
        for fd in made:
            os.close(fd)
        return []
    return made


class _Shared:
    """Either side's view of the memory behind a descriptor, which it takes over."""

    def __init__(self, fd: int) -> None:
        try:
            whole = memoryview(mmap.mmap(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
        self._reader = whole[:8].cast("Q")
        self._room = whole[_HEAD_BYTES:]


class RingWriter(_Shared):
    """The side that puts parts there."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._position = 0

    def put(self, data: bytes) -> Place | None:
        """Puts a part there; None if it has no room now."""
        size, whole = len(data), len(self._room)
        begin, at = self._position, self._position % whole
        if at + size > whole:
            begin, at = begin + whole - at, 0
        end = begin + size
        if end - self._reader[0] > whole:
            return None
        self._room[at : at + size] = data
        self._position = end
        return Place(end, size)


class RingReader(_Shared):
    """The side that takes them."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
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
