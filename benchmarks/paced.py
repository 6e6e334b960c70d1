"""A paced run: the rate achieved, calls throttled, CPU and memory, beside a bare aiohttp loop.

    python -m benchmarks paced

Every client in its turn talks to an emulator of its own, whose window is strict: the emulator on
one core, the client on the other. The bare loop makes the same calls at the same rate and nothing
else.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clients import SERVER_CPU, TRANSPORTS, encrypt, inventory, peer
from benchmarks.processes import Usage, emulator
from benchmarks.tables import Column, Figures, Plan, Table, by_turns

RATE = 300
SECONDS, QUICK_SECONDS = 30, 2
BARE = "bare aiohttp loop"


def part(plan: Plan) -> Iterator[Table]:
    """The table of both transports and the bare loop."""
    rows = RATE * (QUICK_SECONDS if plan.quick else SECONDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = inventory(folder / "inventory.jsonl", rows)
        clients = {
            f"batchkms encrypt, {transport}": partial(_ours, folder, source, transport)
            for transport in TRANSPORTS
        }
        made = by_turns({**clients, BARE: partial(_bare, folder, rows)}, plan.rounds)
    yield Table(
        title=f"Paced, {RATE} calls/s",
        about=f"{rows:,} rows; the emulator's window is strict: never over {RATE} in any second.",
        first="client",
        columns=(
            Column("calls/s", "per_second", ".2f"),
            Column("throttled %", "throttled_percent", ".2f"),
            Column("most in a sliding second", "peak_per_second", ".0f"),
            Column("% of a core", "core_percent"),
            Column("CPU of the bare loop's", "cpu_us", ".2f", of=BARE),
            Column("peak MB", "peak_mb"),
        ),
        rounds=made,
    )


def _ours(folder: Path, source: Path, transport: str) -> Figures:
    with _emulated(folder) as (ready, environ):
        usage, told = encrypt(
            ready["endpoint"],
            str(source),
            folder / "results.jsonl",
            *("--rate", str(RATE), "--transport", transport),
            key_id=ready["key_id"],
            environ=environ,
        )
        return _figures(told["calls_per_second"], usage, told["calls"], ready)


def _bare(folder: Path, rows: int) -> Figures:
    with _emulated(folder) as (ready, environ):
        usage, told = peer(
            *("bare_aiohttp", ready["endpoint"], rows, str(RATE)),
            key_id=ready["key_id"],
            environ=environ,
        )
        return _figures(told["per_second"], usage, rows, ready)


@contextmanager
def _emulated(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    data_dir = str(folder / "data")
    with emulator(data_dir, rate_limit=str(RATE), cpu=SERVER_CPU) as ready:
        yield (
            ready,
            {
                "TENCENTCLOUD_SECRET_ID": ready["secret_id"],
                "TENCENTCLOUD_SECRET_KEY": ready["secret_key"],
            },
        )


def _figures(per_second: float, usage: Usage, calls: int, ready: dict[str, Any]) -> Figures:
    with urllib.request.urlopen(f"{ready['endpoint']}/_emulator/stats") as answer:  # noqa: S310 - our own loopback server
        stats = json.load(answer)["actions"]["Encrypt"]
    return {
        "per_second": per_second,
        "throttled_percent": 100 * stats["throttled"] / stats["calls"],
        "peak_per_second": stats["peak_per_second"],
        "core_percent": 100 * usage.cpu_s / usage.wall_s,
        "cpu_us": 1e6 * usage.cpu_s / calls,
        "peak_mb": usage.peak_bytes / 1e6,
    }
