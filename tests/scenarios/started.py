"""A process of `batchkms` that is run to its end, started by the forker of this test process."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from tests.scenarios import forker
from tests.scenarios.ended import Ended, environment

TIMEOUT_S = 60.0

_asking = threading.Lock()


def run_to_its_end(
    arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], stdin: bytes | Path
) -> Ended:
    """What came of `python -m batchkms` with these arguments; killed after a minute."""
    request = {"arguments": arguments, "folder": str(folder), "environ": environ}
    with ExitStack() as stack:
        pipes = [os.pipe() for _ in range(3)]
        stdout, stderr, told = (stack.enter_context(open(pipe[0], "rb")) for pipe in pipes)
        pool = stack.enter_context(ThreadPoolExecutor(3))
        reading = _given(stdin, pool)
        _ask(request, [reading, *(pipe[1] for pipe in pipes)])
        watch = threading.Timer(TIMEOUT_S, os.kill, (int(told.readline()), signal.SIGKILL))
        watch.start()
        stack.callback(watch.cancel)
        texts = [each.result().decode() for each in [pool.submit(f.read) for f in (stdout, stderr)]]
        code = int(told.readline())
        assert not watch.finished.is_set(), f"still running after {TIMEOUT_S} s: {texts}"
    return Ended(code, *texts)


def _given(stdin: bytes | Path, pool: ThreadPoolExecutor) -> int:
    """A file to read it from."""
    if isinstance(stdin, Path):
        return os.open(stdin, os.O_RDONLY)
    reading, writing = os.pipe()
    pool.submit(_feed, writing, stdin)
    return reading


def _feed(file: int, content: bytes) -> None:
    # As much as is wanted of it.
    with suppress(BrokenPipeError), open(file, "wb", buffering=0) as pipe:
        pipe.write(content)


def _ask(request: Mapping[str, object], files: list[int]) -> None:
    message = json.dumps(request).encode()
    try:
        with _asking:
            length = len(message).to_bytes(forker.LENGTH_BYTES, "big")
            socket.send_fds(_forker(), [length], files)
            _forker().sendall(message)
    finally:
        for file in files:
            os.close(file)


@cache
def _forker() -> socket.socket:
    """A connection to the forker, which ends with this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, forker.__file__, str(theirs.fileno())],
            env=environment(Path("/nonexistent")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours
