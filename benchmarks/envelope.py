"""Envelope encryption of 256-byte rows, beside a bare loop that writes the same rows.

    python -m benchmarks envelope

In each round `batchkms encrypt --mode envelope --rate off` and the bare loop have their turns, each
from its start to its end, JSONL to JSONL, batchkms against an emulator in a process of its own. The
bare loop is one process; batchkms is one, one on a single core, and a parent with `--processes 2`.
Afterwards the results are looked at: how many data keys were asked for, and whether a nonce occurs
twice under any of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bare_envelope import ROWS_OF_A_KEY
from benchmarks.clients import figures
from benchmarks.processes import Usage, emulator, measured
from benchmarks.tables import Column, Figures, Plan, Table

ROWS, QUICK_ROWS = 1_000_000, 20_000
FLOOR_ROWS_S, FLOOR_RATIO = 100_000, 0.45
FLOOR_OF_TWO = 1.7
"""How much faster two processes on two cores are to be than one process on one core."""

OURS = "batchkms encrypt --mode envelope"
ONE_CORE, TWO, BARE = "the same on one core", "the same, --processes 2", "bare loop"


def part(plan: Plan) -> Iterator[Table]:
    """The table of all sides. Raises RuntimeError for results that are not what they must be."""
    rows = QUICK_ROWS if plan.quick else ROWS
    made: dict[str, list[Figures]] = {OURS: [], ONE_CORE: [], TWO: [], BARE: []}
    with tempfile.TemporaryDirectory() as name, emulator(name, rate_limit="none") as told:
        folder = Path(name)
        inventory, output = _inventory(folder / "inventory.jsonl", rows), folder / "ours.jsonl"
        for _ in range(plan.rounds):
            for who, processes, cpu in ((TWO, 2, None), (ONE_CORE, 1, 0), (OURS, 1, None)):
                before = _data_keys(told)
                ours = _batchkms(told, inventory, output, processes, cpu)
                blob = _looked_at(output, rows, _data_keys(told) - before, processes)
                made[who].append(figures(rows / ours.wall_s, ours, rows))
            bare = _bare(told, inventory, folder / "bare.jsonl", blob)
            _same_size(folder, rows)
            made[BARE].append(figures(rows / bare.wall_s, bare, rows))
    keys = f"GenerateDataKey {-(-rows // ROWS_OF_A_KEY):,} a turn, with two processes one more"
    yield Table(
        title="Envelope",
        about=f"{rows:,} rows of 256 bytes, JSONL to JSONL, whole processes.",
        first="side",
        columns=(
            Column("rows/s", "per_second", ",.0f"),
            Column("CPU µs a row", "cpu_us"),
            Column("of the bare loop", "per_second", ".2f", of=BARE),
            Column("times one core", "per_second", ".2f", of=ONE_CORE),
        ),
        rounds=made,
        notes=[
            f"{keys}; no nonce twice under a key.",
            f"The floors: {FLOOR_RATIO} of the bare loop, or {FLOOR_ROWS_S:,} rows/s; with two "
            f"processes {FLOOR_OF_TWO} times one on one core.",
        ],
    )


def _inventory(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.writelines(
            f'{{"id":"row-{number}","plaintext":"{number:0256}"}}\n' for number in range(rows)
        )
    return path


def _batchkms(
    told: dict[str, Any], inventory: Path, output: Path, processes: int, cpu: int | None
) -> Usage:
    # To remove the rows of the turn before takes a tenth of a second, and is no part of this one.
    output.unlink(missing_ok=True)
    usage, summary = measured(
        [sys.executable, "-m", "batchkms", "encrypt", str(inventory), "-o", str(output)]
        + ["--mode", "envelope", "--rate", "off", "--progress", "never"]
        + ["--endpoint", told["endpoint"], "--key-id", told["key_id"], "--summary", "json"]
        + ["--data-key-rows", str(ROWS_OF_A_KEY), "--processes", str(processes)],
        cpu=cpu,
        environ={
            "TENCENTCLOUD_SECRET_ID": told["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": told["secret_key"],
        },
    )
    if usage.exit_code:
        raise RuntimeError(f"batchkms failed: {summary.decode()}")
    return usage


def _bare(told: dict[str, Any], inventory: Path, output: Path, blob: str) -> Usage:
    command = [sys.executable, "-m", "benchmarks.bare_envelope"]
    usage, _ = measured([*command, str(inventory), str(output), told["key_id"], blob], environ={})
    if usage.exit_code:
        raise RuntimeError("the bare loop failed")
    return usage


def _data_keys(told: dict[str, Any]) -> int:
    """How many calls of GenerateDataKey the emulator has had."""
    with urllib.request.urlopen(f"{told['endpoint']}/_emulator/stats") as answer:  # noqa: S310 - an emulator of our own
        actions = json.load(answer)["actions"]
    return int(actions.get("GenerateDataKey", {}).get("calls", 0))


def _looked_at(output: Path, rows: int, calls: int, processes: int) -> str:
    """A wrapped data key of the results, which are all there. Raises RuntimeError."""
    used: dict[str, set[bytes]] = {}
    with output.open("rb") as results:
        for line in results:
            row = json.loads(line)
            used.setdefault(row["data_key"], set()).add(b64decode(row["ciphertext"][:20])[1:13])
    if sum(map(len, used.values())) != rows:
        raise RuntimeError("a row is missing, or a nonce was used twice under its data key")
    least = -(-rows // ROWS_OF_A_KEY)
    if not calls == len(used) or not least <= calls < least + processes:
        raise RuntimeError(f"{calls} calls of GenerateDataKey for {rows:,} rows")
    return next(iter(used))


def _same_size(folder: Path, rows: int) -> None:
    """Both have written the same, but for the few rows for which a call was made."""
    ours, bare = ((folder / f"{name}.jsonl").stat().st_size for name in ("ours", "bare"))
    if abs(ours - bare) > 100 * (1 + rows // ROWS_OF_A_KEY):
        raise RuntimeError(f"other rows: {ours:,} bytes of batchkms, {bare:,} of the bare loop")
