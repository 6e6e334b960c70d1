"""A timer that is exact to some microseconds, where the system has one.

The event loops round their waits up to whole milliseconds, which every call of a load test would be
late by. Linux's timerfd wakes them like a socket does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_MONOTONIC, _ABSOLUTE = 1, 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0


class Timer(Protocol):
    """Calls back at a time of `time.monotonic`; a new time takes the place of the old one."""

    def at(self, when_s: float) -> None:
        """Calls back then; at once if that has passed."""

    def close(self) -> None:
        """Calls back no more."""


def exact_timer(callback: Callable[[], None]) -> Timer:
    """The best timer that there is, on the running event loop."""
    if sys.platform == "linux":
        try:
            return _TimerFd(callback)
        except OSError:
            pass
    return LoopTimer(callback)


class LoopTimer:
    """The event loop's own timer: late by up to a millisecond."""

    def __init__(
        self, callback: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._callback = callback
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        self._when_s = 0.0

    def at(self, when_s: float) -> None:
        """Calls back then."""
        self.close()
        self._when_s = when_s
        # Not call_at: uvloop's own time is that of the begin of its turn, in whole milliseconds.
        delay_s = max(0.0, when_s - self._clock())
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._expired)

    def _expired(self) -> None:
        if self._clock() < self._when_s:
            # uvloop counts from the begin of its turn, so that its timers may be early.
            self.at(self._when_s)
        else:
            self._callback()

    def close(self) -> None:
        """Calls back no more."""
        if self._handle is not None:
            self._handle.cancel()


class _TimeSpec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


class _TimerSpec(ctypes.Structure):
    _fields_ = [("it_interval", _TimeSpec), ("it_value", _TimeSpec)]


class _TimerFd:
    """Linux's timer as a file (timerfd_create(2)); Python has it from 3.13 on only."""

    def __init__(self, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            create, self._set = libc.timerfd_create, libc.timerfd_settime
        except AttributeError:
            raise OSError("this system's C library has no timerfd") from None
        self._fd: int = create(_MONOTONIC, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _TimerSpec()
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._expired)

    def at(self, when_s: float) -> None:
        """Calls back then."""
        value = self._spec.it_value
        # All zero would stop the timer instead.
        value.tv_sec, value.tv_nsec = divmod(max(1, int(when_s * 1e9)), 1_000_000_000)
        self._set(self._fd, _ABSOLUTE, ctypes.byref(self._spec), None)

    def close(self) -> None:
        """Calls back no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it expired
        self._callback()
