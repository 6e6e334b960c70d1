"""Copies of this process, made before it has an event loop: they need not load it all again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from batchkms.childprocess import no_room, signals_wait, socket_pair

_RUN_DESCRIPTORS = 32
"""So many descriptors a run may open beside those of its processes."""


class Fork:
    """A copy of this process, which waits on its socket to be told what to do."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection
        self._code: int | None = None

    def poll(self) -> int | None:
        """See `subprocess.Popen`."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Whoever started this process lets the system reap what ends, and its code is lost.
                self._code = 0
            else:
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def kill(self) -> None:
        """See `subprocess.Popen`."""
        if self.poll() is None:
            # It may have ended since, where the system reaps it.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Ends it, if nobody has."""
        self.connection.close()
        self.kill()
        while self.poll() is None:
            time.sleep(0.001)  # It was killed, and no event loop is left that could wait for that.


def forks_are_safe() -> bool:
    """Whether this process may make copies of itself, which have its memory, but no other thread.

    On macOS libraries of the system break in such a copy. Threads that Python does not know of
    are those of libuv, where a loop has looked a name up: it takes care of copies by itself.
    """
    return sys.platform == "linux" and threading.active_count() == 1


@contextmanager
def forks(mains: Sequence[Callable[[int], None]]) -> Iterator[list[Fork]]:
    """Copies of this process, each of which runs one of these with the number of its socket.

    Nothing else is open there but stderr. Raises ConfigError where the system has no room for
    them, or none is left for what a run needs besides.
    """
    made: list[Fork] = []
    try:
        try:
            for main in mains:
                made.append(_fork(main))  # noqa: PERF401 - if one fails, those made before it are let go
            _prove_room()
        except OSError as error:
            raise no_room(error) from None
        yield made
    finally:
        for fork in made:
            fork.let_go()


def _prove_room() -> None:
    """Raises OSError if a run could open too little. uvloop does not survive to find that out."""
    opened: list[int] = []
    try:
        for _ in range(_RUN_DESCRIPTORS):
            opened.append(os.dup(2))  # noqa: PERF401 - if one fails, the others are closed
    finally:
        for fd in opened:
            os.close(fd)


def _fork(main: Callable[[int], None]) -> Fork:
    ours, theirs = socket_pair()
    with theirs, signals_wait():
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            try:
                number = theirs.detach()
                _close_all_but(number)
                main(number)
            except BaseException:
                traceback.print_exc()
            finally:
                # Nothing of what this process was about to do is to be done twice.
                os._exit(1)
    return Fork(pid, ours)


def _close_all_but(number: int) -> None:
    """Closes all but this and stderr; stdin and stdout become nothing to read or to write."""
    # Those that are over the limit, too, which may have been lowered since they were opened.
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != number:
            with suppress(OSError):
                os.close(fd)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    os.close(nothing)
