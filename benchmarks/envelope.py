"""Envelope encryption of 256-byte rows, beside a bare loop that writes the same rows.

    python -m benchmarks.envelope [ROWS] [ROUNDS]      # default: 1,000,000 and 3

In each round `batchkms encrypt --mode envelope --rate off` and the bare loop have their turns, each
from its start to its end, JSONL to JSONL, batchkms against an emulator in a process of its own. The
bare loop is one process; batchkms is one, one on a single core, and a parent with `--processes 2`.
Afterwards the results are looked at: how many data keys were asked for, and whether a nonce occurs
twice under any of them. A table is printed and, as JSON, written to envelope.json in the folder for
temporary files.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import urllib.request
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bare_envelope import ROWS_OF_A_KEY
from benchmarks.processes import Usage, emulator, machine, measured

FLOOR_ROWS_S, FLOOR_RATIO = 100_000, 0.45
FLOOR_OF_TWO = 1.7
"""How much faster two processes on two cores are to be than one process on one core."""

OURS, ONE_CORE, TWO, BARE = (
    "batchkms",
    "batchkms on one core",
    "batchkms --processes 2",
    "bare loop",
)


def main(rows: int, rounds: int) -> None:
    """Runs the rounds and prints a table."""
    turns: dict[str, list[Usage]] = {OURS: [], ONE_CORE: [], TWO: [], BARE: []}
    with tempfile.TemporaryDirectory() as name, emulator(name, rate_limit="none") as told:
        folder = Path(name)
        inventory = _inventory(folder / "inventory.jsonl", rows)
        for _ in range(rounds):
            output = folder / "ours.jsonl"
            for who, processes, cpu in ((TWO, 2, None), (ONE_CORE, 1, 0), (OURS, 1, None)):
                before = _data_keys(told)
                turns[who].append(_batchkms(told, inventory, output, processes, cpu))
                blob = _looked_at(output, rows, _data_keys(told) - before, processes)
            turns[BARE].append(_bare(told, inventory, folder / "bare.jsonl", blob))
            _same_size(folder, rows)
    print(f"{rows:,} rows of 256 bytes, {machine()}, {datetime.now(UTC):%Y-%m-%d}, ", end="")
    print(f"medians of {rounds} rounds\n")
    print("| | rows/s | CPU µs a row |\n|---|---|---|")
    for who, made in turns.items():
        rows_s = statistics.median(rows / usage.wall_s for usage in made)
        cpu_us = statistics.median(1e6 * usage.cpu_s / rows for usage in made)
        print(f"| {who} | {rows_s:,.0f} | {cpu_us:.1f} |")
    ratio, rounds_text = _ratio(turns[BARE], turns[OURS])
    print(f"\nratio to the bare loop {ratio} (floor {FLOOR_RATIO}, ", end="")
    print(f"or {FLOOR_ROWS_S:,} rows/s); by rounds {rounds_text}")
    for who, floor in ((ONE_CORE, f" (floor {FLOOR_OF_TWO})"), (OURS, "")):
        ratio, rounds_text = _ratio(turns[who], turns[TWO])
        print(f"{TWO} to {who} {ratio}{floor}; by rounds {rounds_text}")
    print(f"GenerateDataKey {-(-rows // ROWS_OF_A_KEY):,} a round; no nonce twice under a data key")
    kept = {who: [rows / usage.wall_s for usage in made] for who, made in turns.items()}
    path = Path(tempfile.gettempdir(), "envelope.json")
    path.write_text(json.dumps({"machine": machine(), "rows": rows, "rows_per_second": kept}))


def _ratio(slower: list[Usage], faster: list[Usage]) -> tuple[str, str]:
    """How much faster one is than the other: the median, and each round."""
    ratios = [s.wall_s / f.wall_s for s, f in zip(slower, faster, strict=True)]
    return f"{statistics.median(ratios):.2f}", ", ".join(f"{ratio:.2f}" for ratio in ratios)


def _inventory(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.writelines(
            f'{{"id":"row-{number}","plaintext":"{number:0256}"}}\n' for number in range(rows)
        )
    return path


def _batchkms(
    told: dict[str, Any], inventory: Path, output: Path, processes: int, cpu: int | None
) -> Usage:
    usage, summary = measured(
        [sys.executable, "-m", "batchkms", "encrypt", str(inventory), "-o", str(output)]
        + ["--mode", "envelope", "--rate", "off", "--overwrite", "--progress", "never"]
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
    with urllib.request.urlopen(f"{told['endpoint']}/_emulator/stats") as answer:  # noqa: S310
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


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [1_000_000, 3][len(numbers) :]))
