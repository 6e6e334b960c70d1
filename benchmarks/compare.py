"""Records a second, side by side: the official SDK, a bare aiohttp loop, batchkms.

    python -m benchmarks.compare [ROUNDS] [--json FILE]

In each round every client has its turn against the same stub, which answers at once and is
never the bottleneck; the table gives medians. batchkms reads a file and writes results, all the
others only call. CPU time is that of the client's whole process, its start included.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processes import Usage, machine, measured, server

ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
KEY_ID = "benchmark"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one client did in its turn."""

    per_second: float
    cpu_ms_per_call: float


@dataclass(frozen=True, slots=True)
class Client:
    """One client: its name in the table, how many calls it makes, how to run it."""

    name: str
    calls: int
    run: Callable[[str, int, Path], Turn]


def _peer(module: str, *more: str) -> Callable[[str, int, Path], Turn]:
    def run(endpoint: str, calls: int, folder: Path) -> Turn:
        command = [sys.executable, "-m", module, endpoint, KEY_ID, str(calls), *more]
        usage, output = measured(command, environ=ENVIRON)
        told = json.loads(output)
        if told["ok"] != calls:
            raise RuntimeError(f"{module} failed: {told}")
        return _turn(told["per_second"], usage, calls)

    return run


def _batchkms(endpoint: str, calls: int, folder: Path) -> Turn:
    inventory = folder / "inventory.jsonl"
    with inventory.open("w") as file:
        file.writelines(
            f'{{"id":"row-{number}","plaintext":"benchmark row {number}"}}\n'
            for number in range(calls)
        )
    usage, output = measured(
        [sys.executable, "-m", "batchkms", "encrypt", str(inventory), "--overwrite"]
        + ["-o", str(folder / "results.jsonl"), "--rate", "off", "--summary", "json"]
        + ["--endpoint", endpoint, "--key-id", KEY_ID, "--progress", "never"],
        environ=ENVIRON,
    )
    told = json.loads(output)
    if told["ok"] != calls:
        raise RuntimeError(f"batchkms failed: {told}")
    return _turn(told["records_per_second"], usage, calls)


def _turn(per_second: float, usage: Usage, calls: int) -> Turn:
    return Turn(per_second, 1000 * usage.cpu_s / calls)


CLIENTS = (
    Client("official SDK, 32 threads", 2_000, _peer("benchmarks.official_sync")),
    Client("official SDK, async", 2_000, _peer("benchmarks.official_async")),
    Client("bare aiohttp, asyncio loop", 10_000, _peer("benchmarks.bare_aiohttp", "0")),
    Client("batchkms encrypt --rate off", 30_000, _batchkms),
)


def main(rounds: int, json_path: str | None) -> None:
    """Runs the rounds, prints a Markdown table, and keeps every figure as JSON."""
    turns: dict[str, list[Turn]] = {client.name: [] for client in CLIENTS}
    with server("-m", "benchmarks.stub_kms") as endpoint, tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for client in CLIENTS:
                turns[client.name].append(client.run(endpoint, client.calls, Path(folder)))
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}, medians of {rounds} rounds\n")
    print("| client | records/s | times the SDK | CPU ms a record |\n|---|---|---|---|")
    base = statistics.median(turn.per_second for turn in turns[CLIENTS[0].name])
    for name, made in turns.items():
        rate = statistics.median(turn.per_second for turn in made)
        cpu = statistics.median(turn.cpu_ms_per_call for turn in made)
        print(f"| {name} | {rate:,.0f} | {rate / base:.1f} | {cpu:.2f} |")
    if json_path is not None:
        kept = {name: [turn.per_second for turn in made] for name, made in turns.items()}
        Path(json_path).write_text(json.dumps({"machine": machine(), "records_per_second": kept}))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    target = arguments[arguments.index("--json") + 1] if "--json" in arguments else None
    numbers = [argument for argument in arguments if argument.isdigit()]
    main(int(numbers[0]) if numbers else 3, target)
