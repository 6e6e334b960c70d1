"""One daemon thread for calls that may block for ever, such as reading a pipe.

The default executor will not do: the event loop waits for its threads when it closes, and the
interpreter does so again, so that a read of a silent stdin would keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
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
            outcome = _outcome(call)
            try:
                loop.call_soon_threadsafe(outcome.deliver_to, future)
            except RuntimeError:  # The loop is closed: nobody waits any more.
                break
            # A large value must not stay alive here while the next job is awaited.
            del job, future, call, outcome
        if self._at_end is not None:
            self._at_end()


class _Outcome:
    """What a call returned or raised. Its repr shows neither: asyncio's debug mode logs it."""

    def __init__(self, *, value: object = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def deliver_to(self, future: asyncio.Future[Any]) -> None:
        """Ends the future, unless nobody waits for it."""
        if future.done():
            return
        if self._error is None:
            future.set_result(self._value)
        else:
            future.set_exception(self._error)


def _outcome(call: Callable[[], object]) -> _Outcome:
    try:
        return _Outcome(value=call())
    except BaseException as error:
        return _Outcome(error=error)
