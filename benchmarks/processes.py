"""Processes under measurement: servers that are started and ended, programs that are timed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took: wall and CPU time in seconds, peak memory in bytes."""

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_bytes: int


@contextmanager
def server(*arguments: str, cpu: int | None = None) -> Iterator[str]:
    """A server that prints one line once it listens; yields the line, ends it afterwards.

    With `cpu` it runs on that one alone, where the system can do that.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if cpu is not None and sys.platform == "linux":
        os.sched_setaffinity(process.pid, {cpu})
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError(f"{arguments} did not start")
        yield line.strip()
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()


@contextmanager
def emulator(
    data_dir: str, *more: str, rate_limit: str, cpu: int | None = None
) -> Iterator[dict[str, Any]]:
    """`batchkms emulator` in a process of its own; yields what it says when it listens."""
    arguments = ("-m", "batchkms", "emulator", "--port", "0")
    options = ("--data-dir", data_dir, "--rate-limit", rate_limit)
    with server(*arguments, *options, *more, cpu=cpu) as line:
        yield json.loads(line)


def measured(
    arguments: list[str],
    *,
    environ: Mapping[str, str],
    stdin: int | None = None,
    cpu: int | None = None,
) -> tuple[Usage, bytes]:
    """Runs a program to its end; what it and its own processes took, and its stdout.

    With `cpu` it runs on that one alone, where the system can do that.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        env={**os.environ, **environ},
    )
    if cpu is not None and sys.platform == "linux":
        os.sched_setaffinity(process.pid, {cpu})
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stdout:
        process.stdout.close()
    return Usage(
        exit_code=process.returncode,
        wall_s=time.perf_counter() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB, macOS in bytes.
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    ), output


def machine() -> str:
    """The machine in a few words, for the head of a table."""
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
