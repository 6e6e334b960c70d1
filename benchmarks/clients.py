"""One turn of each client that is measured: batchkms itself and its peers, pinned to one core."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import Usage, measured
from benchmarks.tables import Figures

ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
KEY_ID = "benchmark"
IN_FLIGHT = 64
BODY = '{"KeyId":"benchmark","Plaintext":"YmVuY2htYXJrIHJvdyAwMDAwMDA="}'

TRANSPORTS = ("wire", "aiohttp")

_CPUS = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
_PINNED = len(_CPUS) > 1 and shutil.which("taskset") is not None
SERVER_CPU = _CPUS[0] if _PINNED else None
"""The core of every server, None where nothing can be pinned: clients have another one."""
CLIENT_CPU = _CPUS[1] if _PINNED else None

Command = tuple[Usage, dict[str, Any]]
"""What a command of batchkms took, and its summary."""


def pinned(arguments: Sequence[str]) -> list[str]:
    """The same, on the clients' core alone."""
    if CLIENT_CPU is None:
        return list(arguments)
    return ["/usr/bin/env", "taskset", "-c", str(CLIENT_CPU), *arguments]


def installed(name: str | None) -> bool:
    """Whether a program or a module is there; None needs nothing."""
    return name is None or shutil.which(name) is not None or _module(name)


def _module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def figures(per_second: float, usage: Usage, calls: int) -> Figures:
    """What a client did in its turn; the CPU time is that of its whole process."""
    return {
        "per_second": per_second,
        "cpu_us": 1e6 * usage.cpu_s / calls,
        "peak_mb": usage.peak_bytes / 1e6,
    }


def inventory(path: Path, rows: int) -> Path:
    """A JSONL file of so many rows."""
    with path.open("w") as file:
        file.writelines(
            f'{{"id":"row-{number}","plaintext":"benchmark row {number}"}}\n'
            for number in range(rows)
        )
    return path


def encrypt(
    endpoint: str,
    source: str,
    output: Path,
    *options: str,
    key_id: str = KEY_ID,
    environ: Mapping[str, str] = ENVIRON,
    stdin: int | None = None,
) -> Command:
    """`batchkms encrypt` from a file to a file. Raises RuntimeError unless every row was."""
    usage, told = measured(
        pinned([sys.executable, "-m", "batchkms", "encrypt", source, "-o", str(output)])
        + ["--endpoint", endpoint, "--key-id", key_id, "--overwrite", *options]
        + ["--summary", "json", "--progress", "never"],
        environ=environ,
        stdin=stdin,
    )
    summary = json.loads(told) if usage.exit_code == 0 else {}
    if not summary or summary["failed"]:
        raise RuntimeError(f"batchkms failed: exit code {usage.exit_code}, {summary}")
    return usage, summary


def peer(
    module: str,
    endpoint: str,
    calls: int,
    *more: str,
    key_id: str = KEY_ID,
    environ: Mapping[str, str] = ENVIRON,
) -> tuple[Usage, dict[str, Any]]:
    """A peer that is a file of these benchmarks, and what it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", endpoint, key_id, str(calls), *more]
    usage, output = measured(pinned(command), environ=environ)
    if usage.exit_code:
        raise RuntimeError(f"{module} failed: exit code {usage.exit_code}")
    told: dict[str, Any] = json.loads(output)
    return usage, told


def wrk(endpoint: str, seconds: float) -> Figures:
    """wrk, one thread, the same unsigned request over and over: the ceiling of it all."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = '{BODY}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )
        command = [str(shutil.which("wrk")), "-t", "1", "-c", str(IN_FLIGHT)]
        command += ["-d", f"{max(1, round(seconds))}s", "-s", str(script), endpoint]
        usage, output = measured(pinned(command), environ={})
    text = output.decode()
    found = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    calls = re.search(r"([0-9]+) requests in", text)
    if found is None or calls is None or "Socket errors" in text or "Non-2xx" in text:
        raise RuntimeError(f"wrk failed: {text}")
    return figures(float(found[1]), usage, int(calls[1]))
