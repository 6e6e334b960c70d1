"""One daemon thread for calls that may block for ever, such as reading a pipe.

The default executor will not do: the event loop waits for its threads when it closes, and the
interpreter does so again, so that a read of a silent stdin would keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class SerialThread:
    """Runs calls one after the other, in the order given, off the event loop.

    The thread starts with the first call. `at_end` runs in it after the last one, or right
    away if there never was one.
    """

    def __init__(self, name: str, *, at_end: Callable[[], None] | None = None) -> None:
        self._name = name
        self._at_end = at_end
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = False
        self._closed = False

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Queues a call; the future has its outcome. Cancelled before its turn, it is not run."""
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, call))
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Takes no more calls. Returns at once: what runs ends by itself, what waits is dropped."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        if not self._started and self._at_end is not None:
            self._at_end()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closed:
            loop, future, call = job
            if future.cancelled():
                continue
            try:
                deliver = partial(_set_result, future, call())
            except BaseException as error:
                deliver = partial(_set_exception, future, error)
            try:
                loop.call_soon_threadsafe(deliver)
            except RuntimeError:  # The loop is closed: nobody waits any more.
                break
            # A large value must not stay alive here while the next job is awaited.
            del job, future, call, deliver
        if self._at_end is not None:
            self._at_end()


def _set_result(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
