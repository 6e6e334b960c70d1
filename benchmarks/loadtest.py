"""What `batchkms loadtest` promises of its figures, shown on servers whose figures are known.

    python -m benchmarks.loadtest [stall] [even] [find-max] [starved] [memory]

stall     a server that stands still for 5 s in 60 s at 300/s: p99 beside the value by hand,
          with connections as needed and with 32 of them
even      60 s at 300/s: the rate that was achieved, and how evenly calls came to the server
find-max  ten searches on an emulator limited to 220/s
starved   a generator without CPU, and a slow server: who is to blame
memory    ten million calls through statistics, SLO windows and the file of calls

Without a name all of them. Everything is on loopback; it takes some ten minutes.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import emulator, machine, server

ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
KEY_ID = "benchmark"

RATE, SECONDS = 300, 60
STALL_S = 5.0


def loadtest(
    endpoint: str, *options: str, key_id: str = KEY_ID, before: Sequence[str] = (), **environ: str
) -> tuple[int, dict[str, Any]]:
    """Runs a load test; its exit code and its summary."""
    command = [sys.executable, "-m", "batchkms", "loadtest", "--endpoint", endpoint]
    options = ("--key-id", key_id, "--summary", "json", "--progress", "never", *options)
    done = subprocess.run(
        [*before, *command, *options],
        env={**os.environ, **ENVIRON, **environ},
        stdout=subprocess.PIPE,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def stall() -> None:
    """The latencies of a stall, beside those by hand."""
    # The calls due in the stall wait for what is left of it: the k-th slowest of all has waited
    # for STALL_S − (k − 1)/RATE, and p99 is what all but a hundredth of the calls are not above.
    by_hand_ms = (STALL_S - math.floor(RATE * SECONDS / 100) / RATE) * 1000
    print(f"\n## A stall of {STALL_S:g} s in {SECONDS} s at {RATE}/s\n")
    print(
        "| connections | p99 ms from schedule | by hand | off | p99 ms from send | max ms | valid |"
    )
    print("|---|---|---|---|---|---|---|")
    for most in (None, 32):
        options = () if most is None else ("--max-connections", str(most))
        with server("-m", "benchmarks.stalling_kms", "20", str(STALL_S)) as endpoint:
            _, told = loadtest(endpoint, "--rate", str(RATE), "--duration", f"{SECONDS}s", *options)
        schedule, send = told["latency_ms"]["from_schedule"], told["latency_ms"]["from_send"]
        off = schedule["p99"] / by_hand_ms - 1
        assert schedule["p99"] <= schedule["max"]
        name = f"{told['connections']['most']:,} as needed" if most is None else f"{most} at most"
        print(
            f"| {name} | {schedule['p99']:,.0f} | {by_hand_ms:,.0f} | {off:+.2%} | "
            f"{send['p99']:,.0f} | {schedule['max']:,.0f} | {told['valid']} |"
        )


def even() -> None:
    """The rate, and how evenly calls arrive."""
    with server("-m", "benchmarks.stalling_kms") as endpoint:
        code, told = loadtest(endpoint, "--rate", str(RATE), "--duration", f"{SECONDS}s")
        with urllib.request.urlopen(f"{endpoint}/arrivals") as answer:  # noqa: S310 - loopback
            arrivals: list[float] = json.load(answer)
    gaps_ms = [
        (later - sooner) * 1000 for sooner, later in zip(arrivals, arrivals[1:], strict=False)
    ]
    mean_ms = statistics.fmean(gaps_ms)
    print(f"\n## {SECONDS} s at {RATE}/s\n\n| | |\n|---|---|")
    print(f"| achieved | {told['rate']['achieved']:.2f}/s |")
    print(f"| arrivals at the server | {len(arrivals):,}, {1000 / mean_ms:.2f}/s |")
    print(f"| coefficient of variation of their gaps | {statistics.stdev(gaps_ms) / mean_ms:.3f} |")
    cuts = statistics.quantiles(gaps_ms, n=100)
    print(f"| gaps ms: p1, p50, p99 | {cuts[0]:.2f}, {cuts[49]:.2f}, {cuts[98]:.2f} |")
    print(f"| generator | {told['generator']['cpu_share']:.1%} of a core |")
    print(f"| valid | {told['valid']}, exit code {code} |")


def find_max(rounds: int = 10, limit: int = 220) -> None:
    """Searches on an emulator whose limit is known."""
    print(f"\n## --find-max, an emulator limited to {limit}/s\n")
    print("| search | found | off | seconds | limited by |\n|---|---|---|---|---|")
    good = 0
    with tempfile.TemporaryDirectory() as folder, emulator(folder, rate_limit=str(limit)) as ready:
        environ = {
            "TENCENTCLOUD_SECRET_ID": ready["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": ready["secret_key"],
        }
        for number in range(1, rounds + 1):
            began_s = time.monotonic()
            _, told = loadtest(ready["endpoint"], "--find-max", key_id=ready["key_id"], **environ)
            took_s, found = time.monotonic() - began_s, told["max_rate"]
            off = found["rate"] / limit - 1
            good += abs(off) <= 0.05 and took_s < 50
            print(
                f"| {number} | {found['rate']:.1f}/s | {off:+.1%} | {took_s:.1f} | "
                f"{found['limited_by']} |",
                flush=True,
            )
    print(f"\n{good} of {rounds} within 5% and 50 s")


@contextmanager
def busy(cpu: str, processes: int) -> Iterator[None]:
    """Other processes that want all of one CPU."""
    spin = [sys.executable, "-c", "while True: pass"]
    pinned = ["/usr/bin/env", "taskset", "-c", cpu, *spin]
    running = [subprocess.Popen(pinned) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def starved() -> None:
    """Who is to blame: a generator without CPU, or a server that is slow."""
    print("\n## Who is to blame\n\n| | valid | exit code | late | p99 ms |\n|---|---|---|---|---|")
    options = ("--rate", "300", "--duration", "10s")
    with server("-m", "benchmarks.stub_kms") as endpoint, busy("0", 3):
        before = ("taskset", "-c", "0", "nice", "-n", "19")
        _told(
            "a generator that shares its CPU with three others, nice 19",
            loadtest(endpoint, *options, before=before),
        )
    with server("-m", "benchmarks.stub_kms") as endpoint:
        _told(
            "a generator asked for 200,000/s",
            loadtest(endpoint, "--rate", "200000", "--duration", "5s"),
        )
    with tempfile.TemporaryDirectory() as folder:
        for name, fault in (
            ("a server that takes 800 ms", "action=Encrypt,latency=800ms"),
            ("a server that takes 800 ms, 32 connections", "action=Encrypt,latency=800ms"),
        ):
            more = ("--max-connections", "32") if "32" in name else ()
            with emulator(folder, "--fault", fault, rate_limit="none") as ready:
                environ = {
                    "TENCENTCLOUD_SECRET_ID": ready["secret_id"],
                    "TENCENTCLOUD_SECRET_KEY": ready["secret_key"],
                }
                _told(
                    name,
                    loadtest(ready["endpoint"], *options, *more, key_id=ready["key_id"], **environ),
                )


def _told(name: str, ended: tuple[int, dict[str, Any]]) -> None:
    code, told = ended
    p99 = told["latency_ms"]["from_schedule"]["p99"]
    print(
        f"| {name} | {told['valid']} | {code} | {told['generator']['late']:.2%} | {p99:,.0f} |",
        flush=True,
    )


def memory(calls: int = 10_000_000) -> None:
    """Runs `benchmarks.loadtest_memory` in a process of its own, whose peak is its own."""
    print(f"\n## Memory of {calls:,} calls\n\n| calls | peak | a call |\n|---|---|---|")
    for number in (calls // 100, calls):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.loadtest_memory", str(number)],
            stdout=subprocess.PIPE,
            check=True,
        )
        told = json.loads(done.stdout)
        print(f"| {number:,} | {told['peak_mb']:.1f} MB | {told['us_a_call']:.1f} µs |", flush=True)


SHOWN = {"stall": stall, "even": even, "find-max": find_max, "starved": starved, "memory": memory}


def main(names: Sequence[str]) -> None:
    """Shows what is named, or everything."""
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}")
    for name in names or SHOWN:
        SHOWN[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
