"""Calls a second, side by side: batchkms loadtest, Locust, hey, and wrk as the ceiling.

    python -m benchmarks loadtest

In each round every generator has its turn against the same stub, which answers at once: the stub
on one core, the generator on the other, 64 calls under way. batchkms and Locust sign each call
with TC3; hey and wrk repeat one request and look at nothing. The turn with two processes is not
pinned: on two cores they and the stub share these, so that it shows little there. Peers that are
not installed are left out (pip install locust; Debian packages hey and wrk).
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.clients import (
    BODY,
    ENVIRON,
    IN_FLIGHT,
    KEY_ID,
    SERVER_CPU,
    figures,
    installed,
    pinned,
    wrk,
)
from benchmarks.processes import measured, server
from benchmarks.tables import Column, Figures, Plan, Table, by_turns

SECONDS, QUICK_SECONDS = 5, 1
WRK = "wrk, unsigned, one thread"


def part(plan: Plan) -> Iterator[Table]:
    """The table of all who are installed."""
    seconds = QUICK_SECONDS if plan.quick else SECONDS
    with server("-m", "benchmarks.stub_kms", cpu=SERVER_CPU) as endpoint:
        there = {
            name: partial(run, endpoint, seconds)
            for name, (needs, run) in GENERATORS.items()
            if installed(needs)
        }
        made = by_turns(there, plan.rounds)
    yield Table(
        title="Load test",
        about=f"{IN_FLIGHT} calls under way for {seconds} s, against a stub that answers at once.",
        first="generator",
        columns=(
            Column("calls/s", "per_second", ",.0f"),
            Column("CPU µs a call", "cpu_us"),
            Column("of wrk", "per_second", ".3f", of=WRK),
            Column("of hey", "per_second", ".2f", of=HEY),
        ),
        rounds=made,
        notes=[f"Left out, not installed: {name}." for name in GENERATORS if name not in there],
    )


def _timed(
    arguments: list[str], told: Callable[[str], tuple[float, int]], *, on_one_cpu: bool = True
) -> Figures:
    """Runs a generator; `told` finds rate and number of calls in what it says."""
    arguments = pinned(arguments) if on_one_cpu else arguments
    # Locust looks for modules in the folder of its file alone.
    top = str(Path(__file__).parent.parent)
    usage, output = measured(arguments, environ={**ENVIRON, "PYTHONPATH": top})
    per_second, calls = told(output.decode())
    return figures(per_second, usage, calls)


def _batchkms(endpoint: str, seconds: int, *more: str, on_one_cpu: bool = True) -> Figures:
    def told(text: str) -> tuple[float, int]:
        summary = json.loads(text)
        if summary["ok"] != summary["calls"]:
            raise RuntimeError(f"calls failed: {summary['classes']}")
        return summary["rate"]["ok"], summary["calls"]

    arguments = [sys.executable, "-m", "batchkms", "loadtest", "--endpoint", endpoint]
    arguments += ["--key-id", KEY_ID, "--closed", "--concurrency", str(IN_FLIGHT), *more]
    arguments += ["--duration", f"{seconds}s", "--summary", "json", "--progress", "never"]
    return _timed(arguments, told, on_one_cpu=on_one_cpu)


def _batchkms_by_two(endpoint: str, seconds: int) -> Figures:
    return _batchkms(endpoint, seconds, "--processes", "2", on_one_cpu=False)


def _batchkms_kept(endpoint: str, seconds: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return _batchkms(endpoint, seconds, "-o", str(Path(folder) / "calls.jsonl"))


def _locust(endpoint: str, seconds: int) -> Figures:
    def told(text: str) -> tuple[float, int]:
        (stats,) = json.loads(text[text.index("[") :])
        if stats["num_failures"]:
            raise RuntimeError(f"calls failed: {stats}")
        took_s = stats["last_request_timestamp"] - stats["start_time"]
        return stats["num_requests"] / took_s, stats["num_requests"]

    found = shutil.which("locust")
    file = str(Path(__file__).with_name("locust_file.py"))
    arguments = [str(found), "-f", file, "--headless", "--json", "--host", endpoint]
    # Its first second is the start of the users.
    arguments += ["-u", str(IN_FLIGHT), "-r", str(IN_FLIGHT), "-t", f"{max(2, seconds)}s"]
    return _timed(arguments, told)


def _hey(endpoint: str, seconds: int) -> Figures:
    def told(text: str) -> tuple[float, int]:
        found = re.search(r"Requests/sec:\s+([0-9.]+)", text)
        calls = re.search(r"\[200\]\s+([0-9]+) responses", text)
        if found is None or calls is None or "Error distribution" in text:
            raise RuntimeError(f"hey failed: {text}")
        return float(found[1]), int(calls[1])

    arguments = [str(shutil.which("hey")), "-z", f"{seconds}s", "-c", str(IN_FLIGHT), "-cpus", "1"]
    arguments += ["-m", "POST", "-T", "application/json", "-d", BODY, endpoint]
    return _timed(arguments, told)


HEY = "hey, unsigned, one CPU"
GENERATORS: dict[str, tuple[str | None, Callable[[str, int], Figures]]] = {
    "batchkms loadtest --closed, signed": (None, _batchkms),
    "the same, each call kept in a file": (None, _batchkms_kept),
    "batchkms loadtest --processes 2, signed, not pinned": (None, _batchkms_by_two),
    "Locust FastHttpUser, signed": ("locust", _locust),
    HEY: ("hey", _hey),
    WRK: ("wrk", wrk),
}
