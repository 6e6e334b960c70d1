"""How long `batchkms --version` takes, beside Python alone and beside the import of aiohttp.

    python -m benchmarks startup

Wall time of whole processes by turns, and the heaviest lines of `-X importtime`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.clients import pinned
from benchmarks.processes import measured
from benchmarks.tables import Column, Figures, Plan, Table, by_turns

RUNS, QUICK_RUNS = 20, 5
HEAVIEST = 10
LIMIT_MS = 250.0

_PYTHON = "python -c pass"
_OURS = ("-m", "batchkms", "--version")
_COMMANDS = {
    "batchkms --version": _OURS,
    _PYTHON: ("-c", "pass"),
    "python -c 'import aiohttp'": ("-c", "import aiohttp"),
}
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")


def part(plan: Plan) -> Iterator[Table]:
    """The table of times, and that of modules."""
    runs = QUICK_RUNS if plan.quick else RUNS
    made = by_turns({name: partial(_run, given) for name, given in _COMMANDS.items()}, runs)
    times = Table(
        title="Start-up",
        about=f"Wall time of the whole process, medians of {runs} runs by turns.",
        first="command",
        columns=(
            Column("ms", "wall_ms"),
            Column("CPU ms", "cpu_ms"),
            Column("times Python alone", "wall_ms", ".2f", of=_PYTHON),
        ),
        rounds=made,
    )
    yield times
    yield Table(
        title="Imports of batchkms --version",
        about=f"The {HEAVIEST} heaviest lines of `-X importtime`, by what each takes itself.",
        first="module",
        columns=(Column("ms itself", "self_ms", ".2f"), Column("ms in all", "all_ms", ".2f")),
        rounds=_heaviest(),
    )


def _run(arguments: tuple[str, ...]) -> Figures:
    usage, _ = measured(pinned([sys.executable, *arguments]), environ={})
    if usage.exit_code:
        raise RuntimeError(f"{arguments} failed")
    return {"wall_ms": 1000 * usage.wall_s, "cpu_ms": 1000 * usage.cpu_s}


def _heaviest() -> dict[str, list[Figures]]:
    command = pinned([sys.executable, "-X", "importtime", *_OURS])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [
        (name, int(own_us) / 1000, int(all_us) / 1000)
        for own_us, all_us, name in _LINE.findall(done.stderr)
    ]
    found.sort(key=lambda line: line[1], reverse=True)
    return {name: [{"self_ms": own, "all_ms": whole}] for name, own, whole in found[:HEAVIEST]}
