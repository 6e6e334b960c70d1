"""What a report of a batch run is made of: its result file counted once, and its manifest.

No ciphertext, plaintext or context is kept, and no message: a report is passed on more easily
than a result file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchkms.checks.census import format_of, hint_for
from batchkms.errors import ConfigError, InputError
from batchkms.latency import Latencies
from batchkms.records import Result
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.resultfile import BadResultFile, read_results, sink_of_file

OK = "ok"
MOST_CODES = 200
MOST_EXAMPLES = 5
MOST_ATTEMPTS = 20
"""Rows that took more are counted under this number and more."""

LONGEST_MS = 1e11
"""No call takes three years; whatever says so is damaged."""

OTHER = "OtherCodes"
_PARTIAL = ".partial"
_POINTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


@dataclass(slots=True)
class Code:
    """What is known of one error code."""

    error_class: str
    rows: int = 0
    request_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class BatchFigures:
    """The counts of one result file. `latencies` are by class, `ok` among them.

    `manifest` is the content of the one beside it, None if there is none. `notes` are sentences
    that must be known with the figures.
    """

    path: str
    rows: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    by_attempts: Counter[int] = field(default_factory=Counter)
    codes: dict[str, Code] = field(default_factory=dict)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> int:
        """Rows that were done."""
        return self.by_class[OK]

    @property
    def calls(self) -> int:
        """Calls for these rows, as far as they are counted one by one."""
        return sum(attempts * rows for attempts, rows in self.by_attempts.items())

    @property
    def latency(self) -> Latencies:
        """The latencies of all rows' last calls."""
        together = Latencies()
        for each in self.latencies.values():
            together.add(each)
        return together

    def count(self, row: Result) -> None:
        """One row more."""
        name = OK if row.ok else str(row.error_class or "unknown")
        self.rows += 1
        self.by_class[name] += 1
        self.by_attempts[max(0, min(row.attempts, MOST_ATTEMPTS))] += 1
        if row.latency_ms is not None:
            if name not in self.latencies:
                self.latencies[name] = Latencies()
            self.latencies[name].count(row.latency_ms / 1000)
        if not row.ok:
            self._count_code(row.code or name, name, row.request_id)

    def as_json(self) -> dict[str, Any]:
        """The figures for programs."""
        return {
            "command": "report",
            "kind": "batch",
            "rows": self.rows,
            "classes": dict(self.by_class),
            "codes": {name: code.rows for name, code in self.codes.items()},
            "calls": self.calls,
            "latency_ms": {
                name: {
                    **dict(zip(_POINTS, each.percentiles_ms([*_POINTS.values()]), strict=True)),
                    "max": each.max_ms,
                }
                for name, each in self.latencies.items()
            },
            "notes": self.notes,
        }

    def as_text(self) -> list[str]:
        """The figures for people, line by line."""
        return [
            f"  {self.rows:,} rows, {self.ok:,} ok, {self.rows - self.ok:,} failed",
            *(f"  {name}: {rows:,}" for name, rows in self.by_class.most_common() if name != OK),
            *(f"  note: {note}" for note in self.notes),
        ]

    def _count_code(self, code: str, error_class: str, request_id: str | None) -> None:
        if code not in self.codes and len(self.codes) >= MOST_CODES:
            code = OTHER
        if code not in self.codes:
            self.codes[code] = Code(error_class)
        known = self.codes[code]
        known.rows += 1
        if request_id and len(known.request_ids) < MOST_EXAMPLES:
            known.request_ids.append(request_id)


def read_batch(path: str) -> BatchFigures:
    """Counts a result file. Raises ConfigError, and InputError where it cannot be read."""
    figures, name = BatchFigures(path), format_of(path, None)
    try:
        with open(path, "rb") as file:
            for row in read_results(file, sink_of_file(file, name)):
                latency_ms = row.result.latency_ms
                # Not even NaN is between these.
                if latency_ms is not None and not 0 <= latency_ms <= LONGEST_MS:
                    raise InputError(
                        f"{path}: line {row.line:,}: its latency cannot be",
                        hint="copy the file again: no run writes that",
                    )
                figures.count(row.result)
    except BadResultFile as bad:
        if not (bad.torn and path.endswith(_PARTIAL)):
            raise InputError(
                f"{path}: line {bad.line:,}: {bad.reason}",
                hint="name the results of a load test or of a batch run; "
                "batchkms inspect counts what is whole of a damaged one",
            ) from None
        figures.notes.append("The last row is torn, as of a run that was killed, and not counted.")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint=hint_for(Path(path))
        ) from None
    _look_at_manifest(figures)
    return figures


def _look_at_manifest(figures: BatchFigures) -> None:
    try:
        manifest = Manifest.load(manifest_path(Path(figures.path.removesuffix(_PARTIAL))))
    except ConfigError as error:
        figures.notes.append(f"The manifest is not used: {error}.")
        return
    if manifest is None:
        figures.notes.append("There is no manifest beside it: settings and times are unknown.")
        return
    figures.manifest = manifest.content
    if not manifest.finished:
        figures.notes.append("The run has not come to its end: this is what there is until now.")
    elif manifest.content["counts"]["rows"] != figures.rows:
        figures.notes.append(
            f"The manifest counts {manifest.content['counts']['rows']:,} rows and the file holds "
            f"{figures.rows:,}: batchkms audit names what differs."
        )
