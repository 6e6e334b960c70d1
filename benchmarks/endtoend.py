"""Records a second, end to end: batchkms on each transport, bare loops, the official SDK, wrk.

    python -m benchmarks end-to-end

batchkms reads a file, tries again, classifies, and writes results that are forced to the disk;
the others only call. In each round every client has its turn against the same stub, which answers
at once: the stub on one core, the client on the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.clients import (
    SERVER_CPU,
    TRANSPORTS,
    encrypt,
    figures,
    installed,
    inventory,
    peer,
    wrk,
)
from benchmarks.processes import server
from benchmarks.tables import Column, Figures, Plan, Table, by_turns

SDK, WRK = "official SDK, 16 threads", "wrk, unsigned, one thread"
_SDK_MODULE = "tencentcloud"

# Each turn takes some seconds; with --quick about one.
_ROWS = {"wire": 150_000, "aiohttp": 50_000}
_BARE_CALLS, _SDK_CALLS, _WRK_SECONDS = 20_000, 2_000, 5
_QUICK_SHARE = 10


def part(plan: Plan) -> Iterator[Table]:
    """The table of all who are installed."""
    share = _QUICK_SHARE if plan.quick else 1
    with (
        server("-m", "benchmarks.stub_kms", cpu=SERVER_CPU) as endpoint,
        tempfile.TemporaryDirectory() as name,
    ):
        clients = _clients(endpoint, Path(name), share)
        there = {client: run for client, (needs, run) in clients.items() if installed(needs)}
        made = by_turns(there, plan.rounds)
    yield Table(
        title="End to end",
        about="`batchkms encrypt --rate off`, JSONL to JSONL, against a stub that answers at once.",
        first="client",
        columns=(
            Column("records/s", "per_second", ",.0f"),
            Column("CPU µs a record", "cpu_us"),
            Column("of wrk", "per_second", ".3f", of=WRK),
            Column("times the SDK", "per_second", ".1f", of=SDK),
        ),
        rounds=made,
        notes=[f"Left out, not installed: {client}." for client in clients if client not in there],
    )


def _clients(
    endpoint: str, folder: Path, share: int
) -> dict[str, tuple[str | None, Callable[[], Figures]]]:
    """Each client with what has to be installed for it."""
    bare, sdk = partial(_peer, endpoint, _BARE_CALLS // share), _SDK_CALLS // share
    ours = {
        f"batchkms encrypt, {transport}": (None, partial(_ours, endpoint, folder, transport, share))
        for transport in TRANSPORTS
    }
    return {
        **ours,
        "bare aiohttp, asyncio": (None, partial(bare, "bare_aiohttp", "0", "asyncio")),
        "bare aiohttp, uvloop": (None, partial(bare, "bare_aiohttp", "0", "uvloop")),
        SDK: (_SDK_MODULE, partial(_peer, endpoint, sdk, "official_sync")),
        "official SDK, async": (_SDK_MODULE, partial(_peer, endpoint, sdk, "official_async")),
        WRK: ("wrk", partial(wrk, endpoint, _WRK_SECONDS / share)),
    }


def _ours(endpoint: str, folder: Path, transport: str, share: int) -> Figures:
    rows = _ROWS[transport] // share
    source = folder / f"{rows}.jsonl"
    if not source.exists():
        inventory(source, rows)
    options = ("--rate", "off", "--transport", transport)
    usage, told = encrypt(endpoint, str(source), folder / "results.jsonl", *options)
    if told["ok"] != rows:
        raise RuntimeError(f"batchkms failed: {told}")
    return figures(told["records_per_second"], usage, rows)


def _peer(endpoint: str, calls: int, module: str, *more: str) -> Figures:
    usage, told = peer(module, endpoint, calls, *more)
    if told["ok"] != calls:
        raise RuntimeError(f"{module} failed: {told}")
    return figures(told["per_second"], usage, calls)
