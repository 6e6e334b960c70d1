"""The bounded ends of the engine's flow: what may be under way, and what waits to leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from batchkms.records import Result


class Window:
    """Bounds what is under way, in items and in bytes. One waits at it: the producer."""

    def __init__(self, items: int, size_bytes: int) -> None:
        self._items_left = items
        self._bytes_left = size_bytes
        self._limit_items = items
        self._limit_bytes = size_bytes
        self._waiter: asyncio.Future[None] | None = None

    def admits(self, size_bytes: int, items: int = 1) -> bool:
        """Whether so many other items, of this size together, may come in now."""
        # An item over the whole limit gets in alone: it must get through somehow.
        fits = self._bytes_left >= min(size_bytes, self._limit_bytes)
        return self._items_left >= items and fits

    def is_small_part(self, size_bytes: int, items: int) -> bool:
        """Whether these items are at the most a quarter of what may be in.

        Such can wait for room together: enough others are in meanwhile to go on with.
        """
        return items * 4 <= self._limit_items and size_bytes * 4 <= self._limit_bytes

    async def room(self, size_bytes: int, items: int = 1) -> None:
        """Waits until such items may come in."""
        while not self.admits(size_bytes, items):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def enter(self, size_bytes: int, items: int = 1) -> None:
        """Items came in."""
        self._items_left -= items
        self._bytes_left -= size_bytes

    def hold(self, size_bytes: int) -> None:
        """An item that is in became so much larger, whether there was room for that or not."""
        self._bytes_left -= size_bytes

    def release(self, *, items: int = 0, size_bytes: int = 0) -> None:
        """Items left, or the bytes of one are no longer held."""
        self._items_left += items
        self._bytes_left += size_bytes
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


GATHER_S = 0.02
"""While there is more to do, Results of so long leave together: at a few hundred a second,
waking the consumer for each one would cost as much as its call."""


class Outbox:
    """Results that wait for the consumer and, with `ordered`, those that wait for their turn.

    Turns are the ordinals 1, 2, 3, … under which items were taken from the source.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ready: list[Result] = []
        self._ordered = ordered
        self._turn = 1
        self._early: dict[int, Result] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._ended = False

    def put(self, ordinal: int, result: Result, *, at_once: bool) -> None:
        """A Result is there. Unless `at_once`, more of them may be waited for."""
        if not self._ordered:
            self._ready.append(result)
        else:
            self._early[ordinal] = result
            while self._turn in self._early:
                self._ready.append(self._early.pop(self._turn))
                self._turn += 1
        if self._ready and at_once:
            self._wake()
        elif self._ready and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._wake)

    def put_all(self, ordinals: Sequence[int], results: Sequence[Result]) -> None:
        """Results of a lot are there."""
        if self._ordered:
            for ordinal, result in zip(ordinals, results, strict=True):
                self.put(ordinal, result, at_once=True)
        else:
            self._ready += results
            self._wake()

    def end(self) -> None:
        """No Result will follow. A run that was stopped has gaps: what is there is kept."""
        self._ready += [self._early.pop(ordinal) for ordinal in sorted(self._early)]
        self._ended = True
        self._wake()

    async def take(self) -> list[Result]:
        """All that is ready, at least one; empty only at the end."""
        while self._gathering is not None or not (self._ready or self._ended):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        ready, self._ready = self._ready, []
        return ready

    def _wake(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
