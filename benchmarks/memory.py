"""Peak memory over the number of rows, which must not matter.

    python -m benchmarks memory [--most-rows N]

Rows are made on the fly and come through stdin, without a rate limit; direct ones go to a stub that
answers at once, envelope's to an emulator. The load test's line is that of so many calls through
statistics, SLO windows and the file of calls (`benchmarks.loadtest_memory`), without making them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.clients import ENVIRON, KEY_ID, SERVER_CPU, TRANSPORTS, encrypt, pinned
from benchmarks.processes import emulator, measured, server
from benchmarks.tables import Column, Plan, Table

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
QUICK_SIZES = (5_000, 30_000)
LIMIT_MB, FLAT_MB = 100.0, 10.0

_SECRET = "x" * 40


def part(plan: Plan) -> Iterator[Table]:
    """The table of peaks; one round, for the peak of a long run is that of many short ones."""
    sizes = list(QUICK_SIZES if plan.quick else SIZES)
    if plan.most_rows is not None and plan.most_rows < sizes[-1]:
        sizes = [rows for rows in sizes if rows < plan.most_rows] + [plan.most_rows]
    with (
        server("-m", "benchmarks.stub_kms", cpu=SERVER_CPU) as endpoint,
        tempfile.TemporaryDirectory() as name,
        emulator(f"{name}/data", rate_limit="none", cpu=SERVER_CPU) as ready,
    ):
        environ = {
            "TENCENTCLOUD_SECRET_ID": ready["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": ready["secret_key"],
        }
        direct = partial(_encrypted, Path(name), endpoint, KEY_ID, ENVIRON)
        sealed = partial(_encrypted, Path(name), ready["endpoint"], ready["key_id"], environ)
        clients: dict[str, Callable[[int], float]] = {
            f"encrypt, {transport}": partial(direct, ("--transport", transport))
            for transport in TRANSPORTS
        }
        envelope = ("--mode", "envelope")
        clients["encrypt --mode envelope"] = partial(sealed, envelope)
        # The peak is that of the largest of its processes.
        clients["the same, --processes 2"] = partial(sealed, (*envelope, "--processes", "2"))
        clients["loadtest, calls kept"] = _loadtest
        # The slowest by far.
        shorter = {"encrypt, aiohttp": sizes[:1]} if plan.quick else {}
        peaks = {
            client: [run(rows) for rows in shorter.get(client, sizes)]
            for client, run in clients.items()
        }
    yield _table(sizes, peaks)


def _table(sizes: list[int], peaks: Mapping[str, list[float]]) -> Table:
    too_much = [
        client
        for client, made in peaks.items()
        if max(made) > LIMIT_MB or made[-1] - made[0] > FLAT_MB
    ]
    bound = f"{LIMIT_MB:g} MB at the most, and {FLAT_MB:g} MB from the smallest to the largest"
    return Table(
        title="Memory over size",
        about="Peak of a whole process in MB (of several, the largest), without a rate limit.",
        first="rows",
        columns=[
            *(Column(f"{rows:,}", f"peak_mb_{rows}") for rows in sizes),
            Column("grown by", "grown_mb", "+.1f"),
        ],
        rounds={
            client: [
                {f"peak_mb_{rows}": peak for rows, peak in zip(sizes, made, strict=False)}
                | {"grown_mb": made[-1] - made[0]}
            ]
            for client, made in peaks.items()
        },
        notes=[f"{bound}: " + (f"NOT HELD by {', '.join(too_much)}." if too_much else "held.")],
    )


def _encrypted(
    folder: Path,
    endpoint: str,
    key_id: str,
    environ: Mapping[str, str],
    options: tuple[str, ...],
    rows: int,
) -> float:
    """The peak of `batchkms encrypt` in MB."""
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, rows))
    feeder.start()
    output = folder / "results.jsonl"
    try:
        usage, told = encrypt(
            endpoint,
            "-",
            output,
            *("--format", "jsonl", "--rate", "off", *options),
            key_id=key_id,
            environ=environ,
            stdin=reading,
        )
    finally:
        os.close(reading)
        feeder.join()
    with output.open("rb") as results:
        written = sum(1 for _ in results)
    if not told["ok"] == written == rows:
        raise RuntimeError(f"{rows:,} rows in, {told['ok']:,} ok, {written:,} written")
    return usage.peak_bytes / 1e6


def _feed(fd: int, rows: int) -> None:
    # The reader that has failed tells why; this end has nothing to add.
    try:
        with os.fdopen(fd, "w", buffering=1 << 16) as pipe:
            for number in range(rows):
                pipe.write(f'{{"id":"row-{number}","plaintext":"{_SECRET}{number}"}}\n')
    except BrokenPipeError:
        pass


def _loadtest(calls: int) -> float:
    """The peak in MB of what counts and keeps the calls of a load test."""
    command = [sys.executable, "-m", "benchmarks.loadtest_memory", str(calls)]
    usage, _ = measured(pinned(command), environ={})
    if usage.exit_code:
        raise RuntimeError(f"loadtest_memory failed: exit code {usage.exit_code}")
    return usage.peak_bytes / 1e6
