"""Time and memory of a check, on inventories sown with defects, all of which it must find.

    python -m benchmarks.check [ROWS …]       # default: 10,000 and 1,000,000

Rows have a secret of 256 bytes as a rule. The check runs in a process of its own; the service is
left out. A table is printed and, as JSON, written to check.json in the folder for temporary files.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from batchkms.checks.check import check
from batchkms.checks.idindex import DuplicateId
from batchkms.records import Result
from batchkms.sources import open_source
from benchmarks.processes import machine, measured
from tests.checks.seeded import FIELDS, Sown, sow

EACH = 150
"""Defects of each kind among so many rows."""


def main(sizes: list[int]) -> None:
    """Checks an inventory of each size and prints a table."""
    print(f"check of JSONL, 256-byte secrets ({machine()})")
    with tempfile.TemporaryDirectory() as folder:
        figures = [_figures(Path(folder) / f"{rows}.jsonl", rows) for rows in sizes]
    Path(tempfile.gettempdir(), "check.json").write_text(json.dumps(figures, indent=2))


def _figures(path: Path, rows: int) -> dict[str, Any]:
    sown = sow(path, rows=rows, each=EACH, seed=rows)
    usage, output = measured(
        [sys.executable, "-m", "benchmarks.check", "of", str(path)], environ={}
    )
    found = json.loads(output)
    missed = _missed(found, sown)
    figures = {
        "rows": rows,
        "bytes": path.stat().st_size,
        "wall_s": round(usage.wall_s, 2),
        "cpu_s": round(usage.cpu_s, 2),
        "peak_mb": round(usage.peak_bytes / 1e6, 1),
        "defects": len(sown.failing) + len(sown.ids) + len(sown.repeated_seqs),
        "missed": missed,
    }
    print(
        f"  {rows:>10,} rows, {figures['bytes'] / 1e6:,.0f} MB: {usage.wall_s:.1f} s, "
        f"{rows / usage.wall_s:,.0f} rows/s, peak {figures['peak_mb']} MB; "
        f"{figures['defects']:,} defects sown, {missed} of them missed or wrong",
        flush=True,
    )
    path.unlink()
    return figures


def _missed(found: dict[str, Any], sown: Sown) -> int:
    """Defects that were not found as they were sown, and those found that were not."""
    # Unreadable rows among those of earlier results have other seqs than their ordinals.
    places = {
        (seq if code == "RequestLimitExceeded" else sown.lines[seq], code)
        for seq, code in sown.failing.items()
    }
    failing = set(map(tuple, found["failing"])) ^ places
    groups = Counter({(len(seqs), min(seqs)): 1 for seqs in sown.ids.values()})
    groups.subtract(map(tuple, found["duplicates"]))
    seqs: int = abs(found["repeated_seqs"] - len(sown.repeated_seqs))
    return len(failing) + sum(map(abs, groups.values())) + seqs


def look(path: str) -> None:
    """The check itself; prints what it found as JSON."""
    failing: list[tuple[int, str | None]] = []  # the line, or the seq where no line is told
    twice: list[tuple[int, int]] = []

    def failed(row: Result) -> None:
        told = (row.message or "").removeprefix("line ").partition(":")[0]
        failing.append((int(told) if told.isdigit() else row.seq, row.code))

    def duplicate(each: DuplicateId) -> None:
        twice.append((each.rows, each.seqs[0]))

    async def checked() -> int:
        source = open_source(path, fields=FIELDS, needs_key=True)
        report = await check(
            source,
            kms=None,
            region="",
            rate=300,
            output_folder=str(Path(path).parent),
            again=lambda: open_source(path, fields=FIELDS),
            on_failing=failed,
            on_duplicate=duplicate,
        )
        await source.aclose()
        return report.inventory.repeated_seqs

    repeated = asyncio.run(checked())
    print(json.dumps({"failing": failing, "duplicates": twice, "repeated_seqs": repeated}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["of"]:
        look(sys.argv[2])
    else:
        main([int(argument) for argument in sys.argv[1:]] or [10_000, 1_000_000])
