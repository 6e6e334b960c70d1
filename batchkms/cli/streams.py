"""stdout and stderr of the program, which may be closed, full, or watched by nobody any more.

Nothing that is said on stderr is worth a run. What goes to stdout was asked for, so that an error
there is told, but only after the work was done.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_STDOUT_FD, _STDERR_FD = 1, 2


class StdoutError(Exception):
    """What was asked for on stdout cannot be written there."""


def prepare() -> None:
    """Opens the null device on descriptors 0 to 2 that are closed.

    Else the next file or socket would get the number, and what is meant for stdout would be
    written into it. Python has no stream object for a closed one, and print would take another.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            _closed.add(fd)
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it stays open while the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it stays open while the process lives


_closed: set[int] = set()


def was_closed(fd: int) -> bool:
    """Whether this descriptor was closed when the program began."""
    return fd in _closed


def say(line: str) -> None:
    """Writes a line to stderr, if that can be."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def put(data: bytes) -> None:
    """Writes a line of data to stdout. Raises StdoutError."""
    try:
        sys.stdout.flush()
        view = memoryview(data + b"\n")
        while view:
            view = view[os.write(_STDOUT_FD, view) :]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise StdoutError(f"stdout cannot be written: {reason}") from None


def finish() -> None:
    """Flushes both, and keeps Python from trying once more at its end."""
    for stream, fd in ((sys.stdout, _STDOUT_FD), (sys.stderr, _STDERR_FD)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, fd)
