"""Calls a second, side by side: batchkms loadtest, Locust, hey, and wrk as the ceiling.

    python -m benchmarks.loadtest_peers [ROUNDS] [--seconds S] [--json FILE]

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
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processes import machine, measured, server

ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
USERS = 64
BODY = '{"KeyId":"benchmark","Plaintext":"YmVuY2htYXJrIHJvdyAwMDAwMDA="}'
SERVER_CPU, CLIENT_CPU = 0, 1


@dataclass(frozen=True, slots=True)
class Turn:
    """What one generator did in its turn."""

    per_second: float
    cpu_us_per_call: float


def _pinned(arguments: list[str]) -> list[str]:
    return ["/usr/bin/env", "taskset", "-c", str(CLIENT_CPU), *arguments]


def _timed(
    arguments: list[str], told: Callable[[str], tuple[float, int]], *, pinned: bool = True
) -> Turn:
    """Runs a generator; `told` finds rate and number of calls in what it says."""
    usage, output = measured(_pinned(arguments) if pinned else arguments, environ=ENVIRON)
    per_second, calls = told(output.decode())
    return Turn(per_second, usage.cpu_s / calls * 1e6)


def _batchkms(endpoint: str, seconds: int, *more: str, pinned: bool = True) -> Turn:
    def told(text: str) -> tuple[float, int]:
        summary = json.loads(text)
        if summary["ok"] != summary["calls"]:
            raise RuntimeError(f"calls failed: {summary['classes']}")
        return summary["rate"]["ok"], summary["calls"]

    arguments = [sys.executable, "-m", "batchkms", "loadtest", "--endpoint", endpoint]
    arguments += ["--key-id", "benchmark", "--closed", "--concurrency", str(USERS), *more]
    arguments += ["--duration", f"{seconds}s", "--summary", "json", "--progress", "never"]
    return _timed(arguments, told, pinned=pinned)


def _batchkms_by_two(endpoint: str, seconds: int) -> Turn:
    return _batchkms(endpoint, seconds, "--processes", "2", pinned=False)


def _batchkms_kept(endpoint: str, seconds: int) -> Turn:
    with tempfile.TemporaryDirectory() as folder:
        return _batchkms(endpoint, seconds, "-o", str(Path(folder) / "calls.jsonl"))


def _locust(endpoint: str, seconds: int) -> Turn:
    def told(text: str) -> tuple[float, int]:
        (stats,) = json.loads(text[text.index("[") :])
        if stats["num_failures"]:
            raise RuntimeError(f"calls failed: {stats}")
        return stats["num_requests"] / (
            stats["last_request_timestamp"] - stats["start_time"]
        ), stats["num_requests"]

    found = shutil.which("locust")
    file = str(Path(__file__).with_name("locust_file.py"))
    arguments = [str(found), "-f", file, "--headless", "--json", "--host", endpoint]
    arguments += ["-u", str(USERS), "-r", str(USERS), "-t", f"{seconds}s"]
    return _timed(arguments, told)


def _hey(endpoint: str, seconds: int) -> Turn:
    def told(text: str) -> tuple[float, int]:
        found = re.search(r"Requests/sec:\s+([0-9.]+)", text)
        calls = re.search(r"\[200\]\s+([0-9]+) responses", text)
        if found is None or calls is None or "Error distribution" in text:
            raise RuntimeError(f"hey failed: {text}")
        return float(found[1]), int(calls[1])

    arguments = [str(shutil.which("hey")), "-z", f"{seconds}s", "-c", str(USERS), "-cpus", "1"]
    arguments += ["-m", "POST", "-T", "application/json", "-d", BODY, endpoint]
    return _timed(arguments, told)


def _wrk(endpoint: str, seconds: int) -> Turn:
    def told(text: str) -> tuple[float, int]:
        found = re.search(r"Requests/sec:\s+([0-9.]+)", text)
        calls = re.search(r"([0-9]+) requests in", text)
        if found is None or calls is None or "Socket errors" in text:
            raise RuntimeError(f"wrk failed: {text}")
        return float(found[1]), int(calls[1])

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = '{BODY}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )
        arguments = [str(shutil.which("wrk")), "-t", "1", "-c", str(USERS)]
        arguments += ["-d", f"{seconds}s", "-s", str(script), endpoint]
        return _timed(arguments, told)


GENERATORS: dict[str, tuple[str | None, Callable[[str, int], Turn]]] = {
    "batchkms loadtest, signed": (None, _batchkms),
    "the same, each call kept in a file": (None, _batchkms_kept),
    "batchkms loadtest --processes 2, signed, not pinned": (None, _batchkms_by_two),
    "Locust FastHttpUser, signed": ("locust", _locust),
    "hey, unsigned, one CPU": ("hey", _hey),
    "wrk, unsigned, one thread": ("wrk", _wrk),
}


def main(rounds: int, seconds: int, json_path: str | None) -> None:
    """Runs the rounds, prints a Markdown table, and keeps every figure as JSON."""
    there = {
        name: run
        for name, (program, run) in GENERATORS.items()
        if program is None or shutil.which(program)
    }
    for name in GENERATORS.keys() - there.keys():
        print(f"left out, not installed: {name}", file=sys.stderr)
    turns: dict[str, list[Turn]] = {name: [] for name in there}
    with server("-m", "benchmarks.stub_kms", cpu=SERVER_CPU) as endpoint:
        for _ in range(rounds):
            for name, run in there.items():
                turns[name].append(run(endpoint, seconds))
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}, medians of {rounds} rounds of {seconds} s\n")
    print("| generator | calls/s | CPU µs a call | of wrk |\n|---|---|---|---|")
    medians = {
        name: statistics.median(turn.per_second for turn in made) for name, made in turns.items()
    }
    ceiling = medians.get("wrk, unsigned, one thread")
    for name, made in turns.items():
        cpu = statistics.median(turn.cpu_us_per_call for turn in made)
        share = "" if ceiling is None else f"{medians[name] / ceiling:.3f}"
        print(f"| {name} | {medians[name]:,.0f} | {cpu:.1f} | {share} |")
    if json_path is not None:
        kept = {name: [turn.per_second for turn in made] for name, made in turns.items()}
        Path(json_path).write_text(json.dumps({"machine": machine(), "calls_per_second": kept}))


if __name__ == "__main__":
    given = sys.argv[1:]
    target = given[given.index("--json") + 1] if "--json" in given else None
    seconds_given = int(given[given.index("--seconds") + 1]) if "--seconds" in given else 10
    leading = int(given[0]) if given and given[0].isdigit() else 5
    main(leading, seconds_given, target)
