"""Puts two load tests side by side and says which differences exceed the noise.

The noise is taken from the tests themselves, from how their figures vary between blocks of time
(`blocks`). Percentiles have Woodruff's intervals (1952): the share of calls at or below the
percentile is uncertain as its blocks say, and the percentiles at both ends of that are the ends of
the interval. The interval of a difference is put together from those of both (MOVER, Zou and
Donner 2008). All figures together raise a false alarm in one comparison of twenty at the most
(Bonferroni), and a difference below 1% is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from batchkms.loadtest.blocks import (
    FEWEST_BLOCKS,
    FEWEST_CALLS,
    Blocks,
    Cell,
    Distribution,
    Spread,
    mean_spread,
    ratio_spread,
)
from batchkms.loadtest.call import OK
from batchkms.loadtest.runrecord import RunRecord

LEVEL = 0.05
"""How often two tests of the same kind may be told to differ, in anything at all."""

LEAST_DIFFERENCE = 0.01
"""A smaller share of the figure is not worth telling, however certain it is."""

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

_IMMATERIAL = frozenset(
    ("data_dir", "hgrm", "junit", "log_format", "log_level", "metrics", "output", "overwrite")
) | {"progress", "report", "slos", "summary"}
"""Settings that say what is made of a test, and change nothing in it."""

Outcome = Literal["better", "worse", "within the noise", "too little data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of both tests. `low` and `high` are the interval of `b - a` in the same unit.

    The unit is `/s`, `ms` or `share` (of 1).
    """

    name: str
    unit: Literal["/s", "ms", "share"]
    a: float
    b: float
    low: float
    high: float
    outcome: Outcome

    @property
    def real(self) -> bool:
        """Whether it exceeds the noise."""
        return self.outcome in ("better", "worse")


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures, and sentences about what makes the tests hard to compare."""

    differences: list[Difference]
    warnings: list[str]

    @property
    def worse(self) -> bool:
        """Whether anything got worse by more than the noise."""
        return any(each.outcome == "worse" for each in self.differences)

    def as_json(self) -> dict[str, Any]:
        """The comparison for programs; an end of an interval that is not known is null."""
        return {
            "command": "compare",
            "worse": self.worse,
            "differences": [
                {
                    "figure": each.name,
                    "unit": each.unit,
                    "a": round(each.a, 6),
                    "b": round(each.b, 6),
                    "low": _finite(each.low),
                    "high": _finite(each.high),
                    "outcome": each.outcome,
                }
                for each in self.differences
            ],
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure before the verdict on it: the values, the spreads, and the way to its interval."""

    name: str
    unit: Literal["/s", "ms", "share"]
    a: float
    b: float
    spreads: tuple[Spread, Spread]
    more_is_worse: bool
    distributions: tuple[Distribution, Distribution] | None = None
    at: float = 0.0


Side = tuple[Blocks, Sequence[RunRecord], Sequence[str]]
"""A test: its calls in blocks, the records of its generators, and remarks on its files."""


def compare_tests(a: Side, b: Side) -> Comparison:
    """Compares two tests. What differed between them beforehand is warned of."""
    cells = a[0].cells(), b[0].cells()
    figures = [*_rates(a[0], b[0]), *_percentiles(*cells), *_shares(*cells)]
    enough = all(
        len(each) >= FEWEST_BLOCKS and sum(cell.calls for cell in each) >= FEWEST_CALLS
        for each in cells
    )
    level = LEVEL / max(1, len(figures))
    differences = [_judged(figure, level, enough=enough) for figure in figures]
    return Comparison(differences, [*a[2], *b[2], *_warnings(a[1], b[1])])


def _rates(a: Blocks, b: Blocks) -> Iterator[_Figure]:
    rates = a.rates(), b.rates()
    if all(rates):
        means = [math.fsum(each) / len(each) for each in rates]
        spreads = mean_spread(rates[0]), mean_spread(rates[1])
        yield _Figure("ok per second", "/s", means[0], means[1], spreads, more_is_worse=False)


def _percentiles(a: Sequence[Cell], b: Sequence[Cell]) -> Iterator[_Figure]:
    for attribute, label in (("from_schedule", "from schedule"), ("from_send", "from send")):
        both = (
            Distribution([getattr(cell, attribute) for cell in a]),
            Distribution([getattr(cell, attribute) for cell in b]),
        )
        if not all(each.total for each in both):
            continue
        for name, share in PERCENTILES.items():
            yield _Figure(
                f"{name} {label}",
                "ms",
                both[0].at(share),
                both[1].at(share),
                (both[0].spread(share), both[1].spread(share)),
                more_is_worse=True,
                distributions=both,
                at=share,
            )


def _shares(a: Sequence[Cell], b: Sequence[Cell]) -> Iterator[_Figure]:
    names = sorted({name for cell in (*a, *b) for name in cell.by_class} - {OK})
    for name in ["errors", *names] if len(names) != 1 else names:
        failed = [_failed(cells, name) for cells in (a, b)]
        calls = [[cell.calls for cell in cells] for cells in (a, b)]
        if not all(map(sum, calls)):
            continue
        # Where one of them has none, the other one says how often it could have had some.
        together = sum(map(sum, failed)) / sum(map(sum, calls))
        shares = [sum(f) / sum(n) for f, n in zip(failed, calls, strict=True)]
        spreads = (
            ratio_spread(failed[0], calls[0], together),
            ratio_spread(failed[1], calls[1], together),
        )
        yield _Figure(name, "share", shares[0], shares[1], spreads, more_is_worse=True)


def _failed(cells: Sequence[Cell], name: str) -> list[int]:
    if name == "errors":
        return [cell.calls - cell.by_class[OK] for cell in cells]
    return [cell.by_class[name] for cell in cells]


def _judged(figure: _Figure, level: float, *, enough: bool) -> Difference:
    low, high = _interval(figure, level)
    outcome: Outcome = "within the noise"
    if not enough or not (math.isfinite(low) or math.isfinite(high)):
        outcome = "too little data"
    elif (low > 0 or high < 0) and _matters(figure):
        outcome = "worse" if (low > 0) == figure.more_is_worse else "better"
    return Difference(
        name=figure.name,
        unit=figure.unit,
        a=figure.a,
        b=figure.b,
        low=low,
        high=high,
        outcome=outcome,
    )


def _interval(figure: _Figure, level: float) -> tuple[float, float]:
    """The interval of the difference at this level."""
    difference = figure.b - figure.a
    one, two = figure.spreads
    if figure.distributions is None:
        error = math.hypot(one.error, two.error)
        reach = t_quantile(1 - level / 2, _freedom(one, two)) * error if error else 0.0
        return difference - reach, difference + reach
    ends = [
        each.interval(figure.at, t_quantile(1 - level / 2, spread.freedom), spread)
        for each, spread in zip(figure.distributions, figure.spreads, strict=True)
    ]
    (low_a, high_a), (low_b, high_b) = ends
    return (
        difference - math.hypot(figure.b - low_b, high_a - figure.a),
        difference + math.hypot(high_b - figure.b, figure.a - low_a),
    )


def _matters(figure: _Figure) -> bool:
    return abs(figure.b - figure.a) >= LEAST_DIFFERENCE * max(figure.a, figure.b)


def _freedom(one: Spread, two: Spread) -> float:
    """Degrees of freedom of a difference (Welch and Satterthwaite)."""
    parts = [(spread.error**2, spread.freedom) for spread in (one, two)]
    below = sum(variance**2 / freedom for variance, freedom in parts)
    total = sum(variance for variance, _ in parts)
    return total**2 / below if below and math.isfinite(total) else 1.0


def t_quantile(share: float, freedom: float) -> float:
    """A quantile of Student's t, by the expansion of Cornish and Fisher.

    Off by less than 2% from 7 degrees of freedom on, for shares up to 0.999.
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _warnings(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> Iterator[str]:
    for name, records in (("A", a), ("B", b)):
        if not records:
            yield f"{name} has no record, so that its settings and validity are unknown"
        if any(not record.valid for record in records):
            yield f"{name} is invalid: its generator did not keep up, so its figures say little"
        for state in sorted({record.state for record in records} - {"finished"}):
            yield f"{name} was {state} before its end"
    if not a or not b:
        return
    if len(a) != len(b):
        yield f"A has {len(a)} generators and B {len(b)}"
    for name in _differing(a[0], b[0]):
        yield name


def _differing(a: RunRecord, b: RunRecord) -> Iterator[str]:
    known_a, known_b = _settings(a), _settings(b)
    for name in dict.fromkeys((*known_a, *known_b)):
        one, other = known_a.get(name), known_b.get(name)
        # Settings say it already where they differ.
        told = name == "target rate" and known_a.get("rate") != known_b.get("rate")
        if one != other and not told:
            yield f"{name} differs: {_shown(one)} in A, {_shown(other)} in B"


def _settings(record: RunRecord) -> dict[str, Any]:
    # An emulator of the test's own has another port each time.
    emulated = record.settings.get("emulator") is True
    return {
        **({} if emulated else {"endpoint": record.endpoint}),
        "model": record.model,
        "warm-up": record.warmup_s,
        "target rate": record.target_rate,
        "version of batchkms": record.version,
        **{
            name.replace("_", "-"): value
            for name, value in record.settings.items()
            if name not in _IMMATERIAL
        },
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(str(each) for each in value)
    return "not set" if value is None else str(value)[:100]


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
