"""Every comparison by one command, each peer beside us in the same run: tables and one JSON file.

    python -m benchmarks [PART …] [--quick] [--rounds N] [--json FILE] [--markdown FILE]

Without a part all of them. Figures are medians of the rounds; the JSON keeps every round.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.parts import PARTS, apart
from benchmarks.tables import Plan, Table


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one short round: under a minute")
    parser.add_argument("--rounds", type=int, metavar="N", help="5, or 1 with --quick")
    parser.add_argument("--most-rows", type=int, metavar="N", help="the largest size of memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every round goes")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where the tables go as well")
    arguments = parser.parse_args(given)
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    return arguments


def _number(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} rounds"


class Report:
    """What was measured so far: told at once, and kept in the files after every part."""

    def __init__(self, plan: Plan, *, json_path: Path | None, markdown_path: Path | None) -> None:
        self._json_path, self._markdown_path = json_path, markdown_path
        self._content: dict[str, Any] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "quick": plan.quick,
            "rounds": plan.rounds,
            "machine": machine.facts(),
            "versions": machine.versions(),
            "parts": {},
            "failed": {},
        }
        self._text = ""
        self._tell(self._head())

    @property
    def failed(self) -> bool:
        """Whether a part could not be measured."""
        return bool(self._content["failed"])

    def take(self, name: str, plan: Plan) -> None:
        """Measures one part; what goes wrong in it does not keep the others from theirs."""
        began_s = time.monotonic()
        tables: list[Table] = []
        try:
            tables = apart(name, plan)
        except (RuntimeError, OSError) as error:
            self._content["failed"][name] = str(error)
            self._tell(f"{name} failed: {error}\n")
        for table in tables:
            self._tell(table.markdown())
        self._content["parts"][name] = {
            "took_s": time.monotonic() - began_s,
            "tables": [table.as_json() for table in tables],
        }
        self._keep()

    def _head(self) -> str:
        content = self._content
        how = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
        which = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
        form = "quick form, " if content["quick"] else ""
        rounds = f"{form}medians of {_number(content['rounds'])} unless said otherwise"
        return f"# Benchmarks\n\n{content['date']}, {rounds}.\n\n{how}.\n\n{which}.\n"

    def _tell(self, text: str) -> None:
        print(text, flush=True)
        self._text += f"{text}\n"

    def _keep(self) -> None:
        if self._json_path is not None:
            self._json_path.write_text(json.dumps(self._content, indent=1, ensure_ascii=False))
        if self._markdown_path is not None:
            self._markdown_path.write_text(self._text)


def main(given: Sequence[str]) -> int:
    """Measures what is named; 1 if some part could not be."""
    arguments = _arguments(given)
    plan = Plan(
        rounds=arguments.rounds or (1 if arguments.quick else 5),
        quick=arguments.quick,
        most_rows=arguments.most_rows,
    )
    report = Report(plan, json_path=arguments.json, markdown_path=arguments.markdown)
    for name in PARTS:
        if name in arguments.parts or not arguments.parts:
            report.take(name, plan)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
