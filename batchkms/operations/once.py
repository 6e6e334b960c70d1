"""What is had by one call for many records: made once for each key, and kept as long as it fits."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_KEPT = 10_000
"""So many values are kept; one that is needed again later costs another call."""


class OncePerKey(Generic[K, V]):
    """Values by key. Whoever needs one that is being made waits for it; other keys go on.

    The value that was not needed for longest is forgotten first.
    """

    def __init__(self, *, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, asyncio.Lock] = {}
        self._waiting: Counter[K] = Counter()

    def ready(self, key: K) -> V | None:
        """The value of a key, if it is there."""
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """The value of a key, made unless it is there by then. Raises whatever `make` does."""
        lock = self._making.setdefault(key, asyncio.Lock())
        self._waiting[key] += 1
        try:
            async with lock:
                if (value := self.ready(key)) is not None:
                    return value
                value = await make()
                self._kept[key] = value
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
                return value
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._making[key]
