"""Processes of our own beside this one: how they are started, what is said to them, how they end.

Most begin as a module that is run anew; those of a batch run as copies of this process (`forks`).

Parent and child have the ends of a socket pair, and say everything in frames of bytes on it, so
that nothing is in arguments or environment that others could read. A child leaves signals to its
parent, who is told of them and tells it; it ends when the socket does, however its parent died.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, cast

from batchkms.errors import ConfigError

_LENGTH_BYTES = 4
MOST_FRAME_BYTES = 256 * 1024 * 1024
"""Far over anything that is said; what is longer is no frame."""

_SOCKET_BUFFER_BYTES = 1024 * 1024
"""The system may allow less."""

_LEFT_TO_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP")


class Frames(asyncio.Protocol):
    """One end: `on_frame` is given what the other end has sent, `on_end` is called when it is gone.

    An exception out of either closes the socket, and is the event loop's handler's to tell.
    """

    def __init__(self, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        # uvloop's own are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Takes the frames that are whole."""
        buffer = self._buffer
        buffer += data
        begin, size = 0, len(buffer)
        while size - begin >= _LENGTH_BYTES:
            body = begin + _LENGTH_BYTES
            end = body + int.from_bytes(buffer[begin:body])
            if end - body > MOST_FRAME_BYTES:
                raise ValueError("what came is no frame")
            if end > size:
                break
            with memoryview(buffer) as view:
                frame = bytes(view[body:end])
            begin = end
            try:
                self._on_frame(frame)
            except Exception:
                # A defect. What comes behind it must not be done as if it had not been there.
                if self._transport is not None:
                    self._transport.abort()
                raise
        if begin == size:
            # A new one: to take bytes off the front of the old one moves what is left.
            self._buffer = bytearray()
        elif begin:
            del buffer[:begin]

    def connection_lost(self, error: Exception | None) -> None:
        """The other end is gone."""
        self._transport = None
        self._on_end()

    def send(self, *parts: bytes | memoryview) -> None:
        """Sends one, of these parts, without waiting; nothing if the other end is gone."""
        if self._transport is not None:
            length = sum(map(len, parts)).to_bytes(_LENGTH_BYTES)
            self._transport.write(b"".join((length, *parts)))

    @property
    def waiting_bytes(self) -> int:
        """What was sent and the other end has not read yet, as far as that is known here."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Ends the socket once what was sent is written."""
        if self._transport is not None:
            self._transport.close()


class _Process(Protocol):
    """A process of ours, however it was started."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit code, or less 0 the signal that ended it; None while it runs."""

    def kill(self) -> None:
        """Kills it, if it still runs."""


class ChildProcess:
    """One child. It is told by `send`, and heard by `on_frame` until `on_end`."""

    def __init__(self, process: _Process, frames: Frames) -> None:
        self._process = process
        self._frames = frames

    @classmethod
    async def start(
        cls,
        module: str,
        *,
        on_frame: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> ChildProcess:
        """Starts one, a module that is run with the number of its socket.

        Raises ConfigError where the system has no room for it.
        """
        if sys.platform == "win32":
            raise ConfigError(
                "several processes are for Linux and macOS", hint="leave out --processes"
            )
        try:
            ours, theirs = socket_pair()
        except OSError as error:
            raise no_room(error) from None
        try:
            with theirs, signals_wait():
                number = theirs.fileno()
                # Not asyncio's own: uvloop lets no child inherit which signals wait. It holds the
                # loop up for about a millisecond, before there is any call to be late. What is run
                # is this interpreter and a module of ours; no argument comes from an input.
                process = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes a millisecond, and runs a module of ours
                    own_python(module, str(number)),
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            raise no_room(error) from None
        return await cls.of(process, ours, on_frame=on_frame, on_end=on_end)

    @classmethod
    async def of(
        cls,
        process: _Process,
        connection: socket.socket,
        *,
        on_frame: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> ChildProcess:
        """One that runs already, at the other end of this connection."""
        loop = asyncio.get_running_loop()
        _, frames = await loop.create_connection(lambda: Frames(on_frame, on_end), sock=connection)
        return cls(process, frames)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, *parts: bytes | memoryview) -> None:
        """Sends it a frame of these parts, without waiting."""
        self._frames.send(*parts)

    def kill(self) -> None:
        """Kills it, if it has not ended."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self, limit_s: float) -> int:
        """Lets go of it, waits until it has ended, and kills it after so long; its exit code."""
        self._frames.close()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        while (code := self._process.poll()) is None:
            if loop.time() > until_s:
                with suppress(ProcessLookupError):
                    self._process.kill()
            await asyncio.sleep(0.005)
        return code


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Our end and the child's. Raises OSError."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        # What is sent is to go in one piece: each wait for room costs two wake-ups.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
    return ours, theirs


def no_room(error: OSError) -> ConfigError:
    """Why no process can be started, and what to try."""
    hint = "ask for fewer with --processes"
    if error.errno == errno.EMFILE:
        hint = f"raise the limit on open files (ulimit -n), or {hint}"
    return ConfigError(f"another process cannot be started: {error.strerror}", hint=hint)


def first_frame(connection: socket.socket) -> bytes | None:
    """The first frame, read before there is an event loop; None if the other end is gone."""
    length = _exactly(connection, _LENGTH_BYTES)
    return None if length is None else _exactly(connection, int.from_bytes(length))


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


_BOOT = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); module = sys.argv.pop(1); "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def own_python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours with the very modules that this process would load.

    `python -m` alone would look in the current folder first, which may be anybody's.
    """
    flags = ["-P"]
    if sys.flags.isolated:
        flags = ["-I"]
    elif sys.flags.ignore_environment:
        flags.append("-E")
    paths = os.pathsep.join(sys.path)
    return [sys.executable, *flags, "-c", _BOOT, paths, module, *arguments]


def ending_text(exit_code: int) -> str:
    """How a process ended, as the end of a sentence about it."""
    if exit_code >= 0:
        return f"exited with {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


def leave_signals_to_parent() -> None:
    """First of all in a child: what the terminal says to all of them is for the parent alone."""
    numbers = _numbers()
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Meanwhile these wait. A child inherits that, so that none ends it before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in _LEFT_TO_THE_PARENT]
