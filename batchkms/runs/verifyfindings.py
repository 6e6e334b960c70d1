"""What is wrong with an output, by kind: how many rows, and the first hundred of each by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

NAMED = 100
"""So many rows of a kind are named; the others are counted."""

_CHUNK_BYTES = 1024 * 1024


class Kind(StrEnum):
    """In what way a row of an output is not right."""

    CORRUPTED = "corrupted"
    """It does not decrypt."""
    DIFFERENT = "different"
    """It decrypts to something else than the inventory has."""
    SWAPPED = "swapped"
    """It decrypts to what another such row should hold."""
    CONTEXT = "context"
    """Its encryption context is not that of the inventory."""
    ID = "id"
    """Its id is not that of the inventory."""
    KEY = "key"
    """It is under another CMK than it says."""
    MISSING = "missing"
    """The inventory has the row, and the output has not."""
    EXTRA = "extra"
    """The output has the row, and the inventory has not."""
    DUPLICATED = "duplicated"
    """A row of that number is there already."""
    DAMAGED = "damaged"
    """It is no row that a run writes."""


@dataclass(slots=True, kw_only=True)
class Finding:
    """One row that is not right. `text` says why and holds nothing secret.

    `offset` is where it begins in the output, in bytes; None if it is not there. `line` counts
    from 1 and is filled in by `Findings.find_lines`.
    """

    kind: Kind
    text: str
    seq: int | None = None
    id: str | None = None
    offset: int | None = None
    line: int | None = None

    def as_text(self) -> str:
        """All of it in one line."""
        where = "" if self.line is None else f"line {self.line}: "
        row = "" if self.seq is None else f"row {self.seq} (id {self.id}) "
        return f"{self.kind}: {where}{row}{self.text}"

    def as_json(self) -> dict[str, Any]:
        """All of it for programs; what is not known is left out."""
        told = {"line": self.line, "seq": self.seq, "id": self.id}
        known = {name: value for name, value in told.items() if value is not None}
        return {"kind": self.kind.value, **known, "text": self.text}


class Findings:
    """Counts all of them and names the first hundred of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.named: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """One more."""
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= NAMED:
            self.named.append(finding)

    def names(self, kind: Kind) -> bool:
        """Whether another one of this kind would be named."""
        return self.counts[kind] < NAMED

    def find_lines(self, output: Path) -> None:
        """Fills in the lines of the named ones, in one reading of the output. Raises OSError."""
        offsets = {finding.offset for finding in self.named if finding.offset is not None}
        lines = _lines_at(output, offsets) if offsets else {}
        for finding in self.named:
            if finding.offset is not None:
                finding.line = lines.get(finding.offset)


def _lines_at(path: Path, offsets: Iterable[int]) -> dict[int, int]:
    lines: dict[int, int] = {}
    line = 1
    with path.open("rb") as file:
        for offset in sorted(offsets):
            while (left := offset - file.tell()) > 0:
                chunk = file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    return lines
                line += chunk.count(b"\n")
            lines[offset] = line
    return lines
