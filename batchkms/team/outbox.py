"""What goes in and out of a team: how much may be under way, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class DealWindow:
    """Bounds what was dealt and is not written yet, in rows and in bytes. One waits at it."""

    def __init__(self, rows: int, size_bytes: int) -> None:
        self._rows_left = self._most_rows = rows
        self._bytes_left = self._most_bytes = size_bytes
        self._waiter: asyncio.Future[None] | None = None

    async def enter(self, rows: int, size_bytes: int) -> None:
        """Waits until a deal of this size may go out; one over the whole bounds goes alone."""
        while not self._admits(rows, size_bytes):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._rows_left -= rows
        self._bytes_left -= size_bytes

    def leave(self, rows: int, size_bytes: int) -> None:
        """So much was written."""
        self._rows_left += rows
        self._bytes_left += size_bytes
        self._wake()

    def widen(self, rows: int) -> None:
        """So many rows more may be under way."""
        self._rows_left += rows
        self._most_rows += rows
        self._wake()

    def _admits(self, rows: int, size_bytes: int) -> bool:
        fits = self._rows_left >= rows and self._bytes_left >= size_bytes
        return fits or self._rows_left >= self._most_rows

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Waiting(NamedTuple, Generic[T]):
    """Something that came before its turn; `last` is the end of its deal."""

    item: T
    last: bool


class Outbox(Generic[T]):
    """Lots that wait to be written and, with `ordered`, those that wait for their turn.

    Turns are the numbers 1, 2, 3, … of deals; all lots of a deal come in their order.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._ready: deque[T] = deque()
        self._turn = 1
        self._early: dict[int, deque[_Waiting[T]]] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    def put(self, deal: int, item: T, *, last: bool) -> None:
        """A lot is there, the last of its deal or not."""
        if not self._ordered:
            self._ready.append(item)
        else:
            self._early.setdefault(deal, deque()).append(_Waiting(item, last))
            self._take_turns()
        if self._ready:
            self._wake()

    def end(self) -> None:
        """Nothing more comes. A run that was stopped has gaps: what is there is kept."""
        for deal in sorted(self._early):
            self._ready += [waiting.item for waiting in self._early.pop(deal)]
        self._ended = True
        self._wake()

    async def take(self) -> list[T]:
        """All that is ready, at least one; empty only at the end."""
        while not (self._ready or self._ended):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        ready = [*self._ready]
        self._ready.clear()
        return ready

    def _take_turns(self) -> None:
        while waiting := self._early.get(self._turn):
            item, last = waiting.popleft()
            self._ready.append(item)
            if last:
                del self._early[self._turn]
                self._turn += 1

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
