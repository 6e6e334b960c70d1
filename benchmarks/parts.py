"""The parts of the benchmarks by name, each measured in a process of its own."""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from benchmarks.tables import Column, Plan, Table

PARTS = {
    "end-to-end": "endtoend",
    "loadtest": "loadtest_peers",
    "envelope": "envelope",
    "paced": "paced",
    "memory": "memory",
    "startup": "startup",
    "breakdown": "breakdown",
}
"""The parts in their order, and the module of each."""


def measure(name: str, plan: Plan) -> list[Table]:
    """The tables of one part. Raises RuntimeError if something did not do what it should."""
    module = importlib.import_module(f"benchmarks.{PARTS[name]}")
    if name == "breakdown":
        rows = module.QUICK_ROWS if plan.quick else module.ROWS
        return [_breakdown(module.table(plan.rounds, rows)[1])]
    return list(module.part(plan))


def _breakdown(made: dict[str, list[float]]) -> Table:
    return Table(
        title="Breakdown",
        about="Where the CPU time of one record goes, each part by itself.",
        first="part",
        columns=(Column("µs a record", "us"),),
        rounds={part: [{"us": figure} for figure in figures] for part, figures in made.items()},
    )


def apart(name: str, plan: Plan) -> list[Table]:
    """The same in a process of its own.

    The system counts the peak of a process from that of the one that started it: that must be
    small, and not grown by what was measured before.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, name, plan).result()
