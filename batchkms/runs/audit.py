"""`batchkms audit`: whether an output still is what its run left, row by row.

The digest in the manifest says whether anything was changed; the checksums of the rows say
which ones. With the input at hand, every row of it must have exactly one result.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchkms.rowset import RowSet, TooFarApart
from batchkms.runs.fileoutput import sums_path
from batchkms.runs.resultfile import (
    BadResultFile,
    ResultRow,
    read_results,
    resaved,
    sink_of_output,
)
from batchkms.runs.rowsums import RowSum, packed, read_sums

NAMED = 100
"""So many differences of a kind are named; the others are counted."""

_AHEAD = 10_000
"""So far ahead a row is looked for that is not where it was; memory is bounded by it."""

_CRC = slice(8, 12)


@dataclass(slots=True)
class Findings:
    """What differs, by kind: how many, and the first hundred of each in words."""

    counts: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def add(self, kind: str, text: str) -> None:
        """One difference more."""
        self.counts[kind] += 1
        if self.counts[kind] <= NAMED:
            self.named.append(text)


class OutputAudit:
    """Reads an output once and compares it with its manifest and its rows' checksums.

    `compared` says that its rows were, which those of a file that was saved again are not.
    """

    def __init__(self, output: Path, manifest: dict[str, Any]) -> None:
        self.findings = Findings()
        self.rows = RowSet()
        self.compared = True
        self._path = output
        self._manifest = manifest
        self._counts: Counter[str] = Counter()
        self._by_class: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def run(self) -> None:
        """Reads it all. Raises OSError.

        A file that another program has saved again is told as such: each of its rows would differ.
        """
        if how := self._resaved():
            self.findings.add(
                "edited",
                f"the file was saved again by another program: {how}, and its rows were not "
                "compared; restore it to have them audited",
            )
            self.compared = False
            return
        order = _Order(self._expected(), self.findings, self._written())
        try:
            for row in self._result_rows():
                self._count(row)
                sum_ = RowSum(row.result.seq, _crc(row))
                order.take(sum_, row.line, twice=not self.rows.add(sum_.seq))
        except BadResultFile as bad:
            self.findings.add("damaged", f"line {bad.line}: {bad.reason}; what follows is not read")
        except TooFarApart as error:
            self.findings.add("damaged", f"{error}; what follows is not read")
        order.end()
        self._compare_with_manifest()
        if self._digest.hexdigest() == self._manifest["output"]["sha256"] and self.findings.counts:
            # The output is right to the last byte: only its checksums can be wrong.
            for kind in ("edited", "added", "missing", "reordered"):
                del self.findings.counts[kind]
            self.findings.named = []
            self.findings.add("sums", f"{sums_path(self._path)} is damaged; the output is not")

    def _resaved(self) -> str | None:
        with self._path.open("rb") as file:
            return resaved(file, sink_of_output(self._manifest["output"]))

    def _result_rows(self) -> Iterator[ResultRow]:
        sink = sink_of_output(self._manifest["output"])
        self._digest.update(sink.header())
        with self._path.open("rb") as file:
            for row in read_results(file, sink, lax=False):
                self._digest.update(row.raw)
                yield row

    def _expected(self) -> Iterator[RowSum] | None:
        path = sums_path(self._path)
        return _sums_of(path) if path.is_file() else None

    def _written(self) -> RowSet:
        """Every row that the run has written, as its checksums say."""
        rows = RowSet()
        try:
            for row in self._expected() or ():
                rows.add(row.seq)
        except TooFarApart as error:
            self.findings.add("sums", f"{sums_path(self._path)} is damaged: {error}")
        return rows

    def _count(self, row: ResultRow) -> None:
        result = row.result
        self._counts["rows"] += 1
        self._counts["ok" if result.ok else "failed"] += 1
        if result.ok:
            self._by_key[result.key_id or ""] += 1
        else:
            self._by_class[str(result.error_class or "")] += 1

    def _compare_with_manifest(self) -> None:
        counts, output = self._manifest["counts"], self._manifest["output"]
        for name in ("rows", "ok", "failed"):
            self._compare(f"the number of rows ({name})", counts[name], self._counts[name])
        self._compare("the count by class", counts["by_class"], dict(self._by_class))
        if len(counts["by_key"]) < 10_000:
            self._compare("the count by key", counts["by_key"], dict(self._by_key))
        if self._digest.hexdigest() != output["sha256"]:
            self.findings.add("digest", "the digest of the output is not that of the manifest")

    def _compare(self, what: str, noted: int | dict[str, int], found: int | dict[str, int]) -> None:
        if noted != found:
            self.findings.add("count", f"{what} is {_shown(found)} and was {_shown(noted)}")


class _Order:
    """Follows the rows along the checksums and says which row is not as it was, or not there."""

    def __init__(
        self, expected: Iterator[RowSum] | None, findings: Findings, known: RowSet
    ) -> None:
        self._expected = expected
        self._findings = findings
        self._known = known
        self._window: deque[RowSum] = deque()
        self._in_window: set[int] = set()
        self._passed: dict[int, int] = {}
        self._early = RowSet()

    def take(self, row: RowSum, line: int, *, twice: bool) -> None:
        """The next row of the output."""
        if twice:
            self._findings.add(
                "duplicated", f"line {line}: row {row.seq} is there for a second time"
            )
            return
        if self._expected is None:
            return
        crc = self._expected_crc(row.seq, line)
        if crc is not None and crc != row.crc:
            self._findings.add("edited", f"line {line}: row {row.seq} was changed")

    def end(self) -> None:
        """Names what is left over."""
        if self._expected is None:
            return
        for row in [RowSum(seq, crc) for seq, crc in self._passed.items()]:
            self._missing(row)
        while self._fill(1):
            self._missing(self._next())

    def _expected_crc(self, seq: int, line: int) -> int | None:
        if self._fill(1) and self._window[0].seq == seq:
            return self._next().crc
        if seq in self._passed:
            self._findings.add("reordered", f"line {line}: row {seq} comes later than it did")
            return self._passed.pop(seq)
        self._fill(_AHEAD)
        if seq in self._in_window:
            while (passed := self._next()).seq != seq:
                self._passed[passed.seq] = passed.crc
            return passed.crc
        self._early.add(seq)
        if seq in self._known:
            self._findings.add("reordered", f"line {line}: row {seq} comes earlier than it did")
        else:
            self._findings.add("added", f"line {line}: row {seq} was not written by the run")
        return None

    def _next(self) -> RowSum:
        row = self._window.popleft()
        self._in_window.discard(row.seq)
        return row

    def _missing(self, row: RowSum) -> None:
        if row.seq not in self._early:
            self._findings.add("missing", f"row {row.seq} is missing")

    def _fill(self, rows: int) -> bool:
        while len(self._window) < rows and self._expected is not None:
            row = next(self._expected, None)
            if row is None:
                break
            self._window.append(row)
            self._in_window.add(row.seq)
        return bool(self._window)


def _shown(count: int | dict[str, int]) -> str:
    if isinstance(count, int):
        return f"{count:,}"
    return ", ".join(f"{name or 'none'} {rows:,}" for name, rows in count.items()) or "none"


def _sums_of(path: Path) -> Iterator[RowSum]:
    with path.open("rb") as file:
        yield from read_sums(file)


def _crc(row: ResultRow) -> int:
    return int.from_bytes(packed([0], [row.raw])[_CRC], "little")
