"""The process that starts the workers, waits for all of them, and ends them together."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import orjson

from batchkms.emulator.listener import cannot_listen
from batchkms.emulator.workers.board import Board
from batchkms.emulator.workers.team import Team
from batchkms.errors import ConfigError, RunStopped

Json = dict[str, Any]
Tell = Callable[[Json], None]
Serve = Callable[[Team, int, Tell, int], None]
"""Serves as a worker until it is asked to end: given its team, the port, what tells that it is
ready, and a descriptor that comes to its end with the parent."""

MAX_WORKERS = 64


def run_workers(count: int, *, host: str, port: int, serve: Serve, announce: Tell) -> None:
    """Runs so many workers until SIGINT or SIGTERM, which end all of them.

    `announce` is called with what the first worker tells, once all are ready. Raises
    ConfigError for what a worker cannot start with, RunStopped if one ends unasked.
    """
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError(
            "several workers cannot share a port on this system", hint="leave --workers out"
        )
    with _reserved(host, port) as port, tempfile.TemporaryDirectory(prefix="batchkms-") as folder:
        token = secrets.token_urlsafe(24)
        with closing(Board()) as board, _Children() as children:
            ready: list[Json] = []
            for index in range(count):
                team = Team(
                    board=board,
                    index=index,
                    count=count,
                    directory=Path(folder),
                    token=token,
                )
                # One after the other: the first one makes the store, which the others find.
                ready.append(children.start(team, port, serve))
            announce(ready[0])
            children.wait()


class _Children:
    """The workers, as processes."""

    def __init__(self) -> None:
        self._running: dict[int, int] = {}
        self._asked_to_end = False
        self._alive: tuple[int, int] = (-1, -1)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Children:
        self._alive = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end(signal.SIGTERM)
        while self._running:
            self._reap()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self._alive:
            os.close(end)

    def start(self, team: Team, port: int, serve: Serve) -> Json:
        """Starts a worker; what it tells when it is ready. Raises ConfigError."""
        told, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            os.close(self._alive[1])
            for number, handler in self._before.items():
                signal.signal(number, handler)
            _be_worker(team, port, serve, telling, self._alive[0])
        os.close(telling)
        self._running[pid] = team.index
        with open(told, "rb") as pipe:
            line = pipe.readline()
        answer: Json = orjson.loads(line) if line else {}
        if "error" in answer:
            raise ConfigError(answer["error"], hint=answer["hint"])
        if not line and not self._asked_to_end:
            raise RunStopped(
                f"worker {team.index} of the emulator could not start",
                hint="start it without --workers to see why",
            )
        return answer

    def wait(self) -> None:
        """Returns when all have ended as they were asked to. Raises RunStopped."""
        while self._running:
            index, status = self._reap()
            if not self._asked_to_end:
                code = os.waitstatus_to_exitcode(status)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise RunStopped(
                    f"worker {index} of the emulator has ended by itself ({how})",
                    hint="start the emulator again: keys and their states are kept",
                )

    def _reap(self) -> tuple[int, int]:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid in self._running:
                return self._running.pop(pid), status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # The first one asks the workers to end, a second one does not wait for them.
        self._end(signal.SIGKILL if self._asked_to_end else signal.SIGTERM)
        self._asked_to_end = True

    def _end(self, number: int) -> None:
        for pid in list(self._running):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _be_worker(team: Team, port: int, serve: Serve, telling: int, alive: int) -> NoReturn:
    """The life of a worker, which never returns into the parent's code."""

    def tell(fields: Json) -> None:
        with open(telling, "wb") as pipe:
            pipe.write(orjson.dumps(fields) + b"\n")

    code = 1
    try:
        serve(team, port, tell, alive)
        code = 0
    except ConfigError as error:
        tell({"error": str(error), "hint": error.hint})
    except BaseException as error:
        # The exception's own text is left out: it could quote a secret.
        place = traceback.extract_tb(error.__traceback__)[-1]
        print(f"batchkms: {type(error).__name__} in {place.name}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Holds a port that only workers of this user can share. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Without SO_REUSEPORT, so that a port in use is told and not shared.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
        holder = socket.socket(family)
    except OSError as error:
        raise cannot_listen(host, port, error) from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise cannot_listen(host, port, error) from None
        yield port
