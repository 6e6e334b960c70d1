"""Starts `batchkms` many times over, with the libraries loaded once: a test waits for its own code.

Run as a program it loads what batchkms depends on, nothing of batchkms, and forks at each request:
the child takes the files, folder, environment and arguments that were sent, then loads and runs
batchkms as `python -m batchkms` does. Two thirds of a start are spent in those libraries.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import socket
import sys
from typing import Any

LIBRARIES = (
    *("aiohttp", "aiohttp.web", "aiolimiter", "click", "hdrh.histogram", "msgspec", "orjson"),
    *("cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.x509", "uvloop", "sqlite3"),
    *("cryptography.hazmat.primitives.ciphers.aead", "asyncio", "csv", "ssl", "tomllib"),
)

LENGTH_BYTES = 4
"""How long a request is, before it: the files come with this."""


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Forks for each request until the tests hang up; in a child, what it was asked to run."""
    waiting: set[int] = set()
    while True:
        length, files, _, _ = socket.recv_fds(requests, LENGTH_BYTES, 4)
        # Waited for, so that their CPU time counts as the tests'.
        waiting -= {process for process in waiting if os.waitpid(process, os.WNOHANG)[0]}
        if not length:
            for process in waiting:
                os.waitpid(process, 0)
            return None
        message = requests.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        process = os.fork()
        if process == 0:
            requests.close()
            return _child(json.loads(message), files)
        waiting.add(process)
        for file in files:
            os.close(file)


def _child(request: dict[str, Any], files: list[int]) -> dict[str, Any] | None:
    """In the process that waits for the one that runs, None; it has told how that ended."""
    *streams, told = files
    process = os.fork()
    if process == 0:
        os.close(told)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for file in (0, 1, 2, *streams):
        os.close(file)
    os.write(told, f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(BrokenPipeError):
        # Whoever asked may have given up.
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Leaves this process as the interpreter would be when it begins with the request."""
    os.chdir(request["folder"])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["environ"])
    more = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    more = [path for path in more if path not in paths]
    # With -m the first place to look is the folder itself.
    sys.path[:1] = [os.getcwd(), *more]
    sys.argv = ["batchkms", *request["arguments"]]
    for name, mode in (("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb")):
        setattr(sys, name, _stream(getattr(sys, name), mode))
    if any(os.path.exists(os.path.join(path, "sitecustomize.py")) for path in more):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")


def _stream(old: io.TextIOWrapper, mode: str) -> io.TextIOWrapper:
    # Anew: the old one has noted whether its file is a terminal and can be sought in.
    return io.TextIOWrapper(
        open(old.fileno(), mode, closefd=False),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )


if __name__ == "__main__":
    for _library in LIBRARIES:
        importlib.import_module(_library)
    # A collection in a child would copy all that they share.
    gc.freeze()
    _request = serve(socket.socket(fileno=int(sys.argv[1])))
    if _request is not None:
        become(_request)
        runpy.run_module("batchkms", run_name="__main__", alter_sys=True)
