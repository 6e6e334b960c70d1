"""A paced run: the rate achieved, calls throttled, and CPU time beside a bare aiohttp loop.

    python -m benchmarks.paced [ROWS] [ROUNDS]

Both clients talk to the same emulator, whose window is strict, one after the other. A round
of 9,000 rows takes a minute.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.processes import Usage, emulator, machine, measured

RATE = 300


def main(rows: int, rounds: int) -> None:
    """Runs the rounds and prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder) / "inventory.jsonl"
        with inventory.open("w") as file:
            for number in range(rows):
                file.write(json.dumps({"id": f"row-{number}", "plaintext": f"row {number}"}) + "\n")
        results = [_round(folder, inventory, rows) for _ in range(rounds)]
    print(f"{rows:,} rows at {RATE}/s, medians of {rounds} ({machine()})")
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"  {name}: {statistics.median(values):,.2f}   {values}")


def _round(folder: str, inventory: Path, rows: int) -> dict[str, float]:
    with emulator(f"{folder}/data", rate_limit=str(RATE)) as server:
        environ = {
            "TENCENTCLOUD_SECRET_ID": server["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": server["secret_key"],
        }
        ours, summary = _batchkms(folder, inventory, server, environ)
        stats = _stats(server["endpoint"])["actions"]["Encrypt"]
        module = [sys.executable, "-m", "benchmarks.bare_aiohttp"]
        bare, _ = measured(
            [*module, server["endpoint"], server["key_id"], str(rows), "297"], environ=environ
        )
    ours_per_call = ours.cpu_s / summary["calls"]
    bare_per_call = bare.cpu_s / rows
    return {
        "calls/s, first to last": summary["calls_per_second"],
        "ok": summary["ok"],
        "throttled %": 100 * stats["throttled"] / stats["calls"],
        "peak in a sliding second": stats["peak_per_second"],
        "CPU % batchkms": 100 * ours.cpu_s / ours.wall_s,
        "CPU % bare aiohttp": 100 * bare.cpu_s / bare.wall_s,
        "CPU a call, ratio": ours_per_call / bare_per_call,
    }


def _batchkms(
    folder: str, inventory: Path, server: dict[str, Any], environ: dict[str, str]
) -> tuple[Usage, dict[str, Any]]:
    command = [sys.executable, "-m", "batchkms", "encrypt", str(inventory), "--overwrite"]
    options = ["-o", f"{folder}/results.jsonl", "--rate", str(RATE), "--summary", "json"]
    target = ["--endpoint", server["endpoint"], "--key-id", server["key_id"]]
    usage, output = measured([*command, *options, *target], environ=environ)
    return usage, json.loads(output)


def _stats(endpoint: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{endpoint}/_emulator/stats") as answer:  # noqa: S310 - our own loopback server
        stats: dict[str, Any] = json.load(answer)
    return stats


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [9_000, 1][len(given) :]))
