"""What every part of the benchmarks has in common: turns in rounds, medians, tables, JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, float]
"""What one turn came to: figures by their names, with the unit in the name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is to be done: rounds, and in each of them much or little."""

    rounds: int = 5
    quick: bool = False
    most_rows: int | None = None
    """The largest size in what is measured over sizes; None for all of them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the median of a figure, or how many times that of the row `of` it is."""

    heading: str
    figure: str
    form: str = ",.1f"
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of every round, by row, and how they are shown."""

    title: str
    about: str
    first: str
    """The heading of the rows' names."""
    columns: Sequence[Column]
    rounds: Mapping[str, Sequence[Figures]]
    notes: Sequence[str] = ()
    """What else is to be said, such as who was left out."""

    def median(self, row: str, figure: str) -> float | None:
        """The median over the rounds, or None where there is no such row or figure."""
        made = [turn[figure] for turn in self.rounds.get(row, ()) if figure in turn]
        return statistics.median(made) if made else None

    def markdown(self) -> str:
        """A section with the table of medians."""
        headings = [self.first, *(column.heading for column in self.columns)]
        lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
        for row in self.rounds:
            cells = [self._cell(row, column) for column in self.columns]
            lines.append(f"| {' | '.join([row, *cells])} |")
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"## {self.title}\n", f"{self.about}\n", *lines, *notes]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Every round, and the medians of every figure."""
        return {
            "title": self.title,
            "about": self.about,
            "notes": list(self.notes),
            "rounds": {row: [dict(turn) for turn in made] for row, made in self.rounds.items()},
            "medians": {
                row: {figure: self.median(row, figure) for figure in _names(made)}
                for row, made in self.rounds.items()
            },
            "ratios": {
                column.heading: {row: self._value(row, column) for row in self.rounds}
                for column in self.columns
                if column.of is not None
            },
        }

    def _cell(self, row: str, column: Column) -> str:
        value = self._value(row, column)
        return "" if value is None else format(value, column.form)

    def _value(self, row: str, column: Column) -> float | None:
        value = self.median(row, column.figure)
        if value is None or column.of is None:
            return value
        base = self.median(column.of, column.figure)
        return value / base if base else None


def _names(made: Sequence[Figures]) -> list[str]:
    return list(dict.fromkeys(name for turn in made for name in turn))


def by_turns(clients: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """In every round each client has its turn: what makes the machine slow hits them all alike."""
    made: dict[str, list[Figures]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, run in clients.items():
            made[name].append(run())
    return made
