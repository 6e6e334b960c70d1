"""Where the figures were taken: the machine, and the versions of all that was measured."""

from __future__ import annotations

import os
import platform
import re
import shutil
import ssl
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    *("batchkms", "aiohttp", "uvloop", "httptools", "orjson", "msgspec", "cryptography", "click"),
    *("hdrhistogram", "tencentcloud-sdk-python-kms", "locust"),
)
# locust takes a second to say it, and is asked only if it is installed somewhere else.
_PROGRAMS = {"locust": ("locust", "--version"), "wrk": ("wrk", "-v"), "hey": None}


def facts() -> dict[str, str]:
    """The machine, by what a reader would ask for."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load average at the start": load,
    }


def versions() -> dict[str, str]:
    """The versions of the libraries and peers that are installed."""
    found = {name: _package(name) for name in _PACKAGES}
    found["OpenSSL"] = ssl.OPENSSL_VERSION
    for name, command in _PROGRAMS.items():
        found[name] = found.get(name) or _program(name, command)
    return {name: told for name, told in found.items() if told}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _program(name: str, command: tuple[str, ...] | None) -> str:
    if shutil.which(name) is None:
        return ""
    if command is None:
        # hey does not tell; Debian does.
        command = ("dpkg-query", "-W", "-f", "${Version}", name)
        if shutil.which(command[0]) is None:
            return "unknown"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"[0-9]+\.[0-9]\S*", done.stdout or done.stderr)
    return found[0] if found else "unknown"
