"""`batchkms compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from batchkms.cli.inputs import refuse_special
from batchkms.cli.kinds import kind_of
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import printable
from batchkms.cli.streams import put, say
from batchkms.cli.telling import summary_option
from batchkms.errors import ConfigError
from batchkms.loadtest.blocks import Blocks
from batchkms.loadtest.compare import Comparison, Difference, compare_tests
from batchkms.loadtest.merge import merge
from batchkms.loadtest.runrecord import RunRecord
from batchkms.reporting.summary import Exit


@click.command(short_help="Put two load tests side by side.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@summary_option
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="Exit code 6 if anything in B is worse than in A by more than the noise.",
)
def compare(a: str, b: str, summary: Literal["text", "json"], fail_on_regression: bool) -> None:
    """Compares the results of load test B with those of A: rate, percentiles, error shares.

    Each is a file of batchkms loadtest -o, or several of generators that tested together, with
    commas between. For each figure it says whether the difference exceeds the noise: by how much
    the figures of each test vary between 20 blocks of its time, as calls that are near in time
    have much in common. Percentiles have Woodruff's intervals, shares and rates those of their
    blocks' means; all figures together raise a false alarm in one comparison of twenty at the most,
    and a difference below 1% is none. docs/reports.md has the details.
    """
    results = compare_tests(_read(a), _read(b))
    if summary == "json":
        put(ascii_json(results.as_json()))
    else:
        for line in _text(results):
            say(f"batchkms: {printable(line)}")
    sys.exit(int(Exit.THRESHOLD if fail_on_regression and results.worse else Exit.OK))


def _read(paths: str) -> tuple[Blocks, Sequence[RunRecord], Sequence[str]]:
    """One side: its calls in blocks, its records, and what must be known of the files."""
    # A file may well have a comma in its name.
    files = [paths] if Path(paths).exists() else paths.split(",")
    for file in files:
        refuse_special(file)
        if kind_of(file) != "loadtest":
            raise ConfigError(
                f"{file} holds no results of a load test",
                hint="name two outputs of batchkms loadtest -o",
            )
    blocks = Blocks()
    merged = merge(files, blocks.count)
    return blocks, merged.records, merged.notes


def _text(results: Comparison) -> list[str]:
    """The comparison as a table."""
    rows = [("", "A", "B", "B - A", "interval", "")]
    rows += [_row(each) for each in results.differences]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:5], widths[1:], strict=True)),
                row[5],
            ]
        ).rstrip()
        for row in rows
    ]
    return [*(f"warning: {each}" for each in results.warnings), *lines, _told(results)]


def _row(each: Difference) -> tuple[str, str, str, str, str, str]:
    change = "–" if not each.a else f"{100 * (each.b - each.a) / each.a:+.1f}%"
    low, high = (_value(end, each.unit, signed=True) for end in (each.low, each.high))
    return (
        each.name,
        _value(each.a, each.unit),
        _value(each.b, each.unit),
        change,
        f"{low} to {high}",
        each.outcome,
    )


def _value(value: float, unit: str, *, signed: bool = False) -> str:
    if value in (float("inf"), float("-inf")):
        return "unknown"
    sign = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.3f}%"
    return f"{value:{sign},.2f} ms" if unit == "ms" else f"{value:{sign},.1f}/s"


def _told(results: Comparison) -> str:
    real = [each for each in results.differences if each.real]
    if not results.differences or all(e.outcome == "too little data" for e in results.differences):
        return "too little data: a test needs at least 100 calls and a second of time"
    if not real:
        return "every difference is within the noise"
    parts = [
        f"{kind}: {', '.join(names)}"
        for kind in ("worse", "better")
        if (names := [each.name for each in real if each.outcome == kind])
    ]
    return f"B differs from A by more than the noise; {'; '.join(parts)}"
