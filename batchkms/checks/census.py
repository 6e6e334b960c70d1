"""What a result file holds, counted in one pass: `batchkms inspect`.

No plaintext is kept or shown, and memory does not grow with the file: what is counted by its
value is counted by 10,000 different ones at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from batchkms.errors import ConfigError, InputError
from batchkms.records import Result
from batchkms.reporting.summary import Exit
from batchkms.rowset import RowSet, TooFarApart
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.resultfile import BadResultFile, read_results, sink_of_file

SHOWN = 20
"""So many CMKs, contexts, codes and gaps are shown, the most frequent ones first."""

DISTINCT = 10_000
"""So many different values of a kind are counted by themselves."""

OTHERS = {"by_key": "other keys", "by_code": "other codes", "by_context": "other contexts"}
"""What further values are counted under."""

NO_CONTEXT = "none"

_PARTIAL = ".partial"
_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_LONGEST_SHOWN = 80


@dataclass(slots=True, kw_only=True)
class Census:
    """The counts of one result file.

    CMKs, contexts and modes are those of rows that are ok, classes and codes of failed ones.
    `damaged` says on which line and why reading ended early; `torn` is the line of a last row
    that is not whole, in the partial file of a run that may not have ended.
    """

    path: str
    rows: int = 0
    ok: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    by_code: Counter[str] = field(default_factory=Counter)
    by_key: Counter[str] = field(default_factory=Counter)
    by_context: Counter[str] = field(default_factory=Counter)
    by_mode: Counter[str] = field(default_factory=Counter)
    reencrypted: int = 0
    unchanged: int = 0
    ciphertext_bytes: int = 0
    seqs: RowSet = field(default_factory=RowSet)
    repeated: int = 0
    torn: int | None = None
    damaged: str | None = None
    manifest: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    _data_keys: set[bytes] = field(default_factory=set)

    @property
    def exit_code(self) -> Exit:
        """Whether it is a whole result file; failed rows in it are none of its faults."""
        if self.damaged is not None:
            return Exit.THRESHOLD
        return Exit.OK if self.rows else Exit.NO_RECORDS

    @property
    def missing(self) -> int:
        """Rows that are not there between the first and the last one."""
        bounds = self.seqs.bounds()
        return 0 if bounds is None else bounds[1] - bounds[0] + 1 - len(self.seqs)

    def count(self, row: Result) -> None:
        """One row more. Raises TooFarApart, and has not counted it then."""
        self.repeated += not self.seqs.add(row.seq)
        self.rows += 1
        if not row.ok:
            self.by_class[str(row.error_class or "")] += 1
            self._add("by_code", row.code or "")
            return
        self.ok += 1
        self._add("by_key", row.key_id or "")
        self._add("by_context", row.encryption_context or NO_CONTEXT)
        self.by_mode[_mode(row)] += 1
        self.reencrypted += row.reencrypted is True
        self.unchanged += row.reencrypted is False
        self.ciphertext_bytes += len(row.ciphertext or "")
        if row.data_key is not None and len(self._data_keys) < DISTINCT:
            self._data_keys.add(blake2b(row.data_key.encode(), digest_size=16).digest())

    def _add(self, name: str, value: str) -> None:
        counter: Counter[str] = getattr(self, name)
        known = value in counter or len(counter) < DISTINCT
        counter[value if known else OTHERS[name]] += 1

    @property
    def data_keys(self) -> int:
        """Different data keys, of which no more than 10,000 are counted."""
        return len(self._data_keys)

    def as_json(self) -> dict[str, Any]:
        """The census for programs: every count, and the first gaps."""
        return {
            "command": "inspect",
            "exit_code": int(self.exit_code),
            "output": self.path,
            "rows": self.rows,
            "ok": self.ok,
            "failed": self.rows - self.ok,
            "by_class": dict(self.by_class),
            "by_code": dict(self.by_code),
            "by_key": dict(self.by_key),
            "by_context": dict(self.by_context.most_common(SHOWN)),
            "contexts": self._contexts(),
            "by_mode": dict(self.by_mode),
            "data_keys": self.data_keys,
            "reencrypted": self.reencrypted,
            "unchanged": self.unchanged,
            "ciphertext_bytes": self.ciphertext_bytes,
            "seq": self.seqs.bounds(),
            "missing": self.missing,
            "gaps": self.seqs.gaps(SHOWN),
            "repeated": self.repeated,
            "torn_line": self.torn,
            "damaged": self.damaged,
            "manifest": self.manifest,
            "notes": self.notes,
        }

    def as_text(self) -> list[str]:
        """The census for people, line by line."""
        return [
            f"{self.path}: {self.rows:,} rows, {self.ok:,} ok, {self.rows - self.ok:,} failed",
            *_table("class", self.by_class),
            *_table("code", self.by_code),
            *_table("key", self.by_key),
            *_table(
                "context", self.by_context if set(self.by_context) - {NO_CONTEXT} else Counter()
            ),
            *_table("mode", self.by_mode),
            *self._rest(),
        ]

    def _rest(self) -> Iterator[str]:
        if self.data_keys:
            more = " or more" if self.data_keys == DISTINCT else ""
            yield _line("data keys", f"{self.data_keys:,}{more}")
        if self.reencrypted or self.unchanged:
            yield _line("moved", f"{self.reencrypted:,} reencrypted, {self.unchanged:,} unchanged")
        if self.ciphertext_bytes:
            yield _line("ciphertext", f"{self.ciphertext_bytes:,} bytes")
        if bounds := self.seqs.bounds():
            yield _line("seq", f"{bounds[0]:,} to {bounds[1]:,}, {self.missing:,} missing")
        gaps = self.seqs.gaps(SHOWN)
        if gaps:
            more = " and more" if len(gaps) == SHOWN else ""
            yield _line("gaps", ", ".join(map(_gap, gaps)) + more)
        if self.repeated:
            rows = "1 row has" if self.repeated == 1 else f"{self.repeated:,} rows have"
            yield _line("repeated", f"{rows} a seq that an earlier one has")
        if self.manifest is not None:
            yield _line("run", f"{self.manifest['command']}, {self.manifest['state']}")
        if self.torn is not None:
            yield f"note: line {self.torn:,}: the last row is torn; --resume sends it again"
        yield from (f"note: {note}" for note in self.notes)
        if self.damaged is not None:
            yield f"damaged: {self.damaged}"

    def _contexts(self) -> int:
        return len(self.by_context) - (NO_CONTEXT in self.by_context)


def take_census(path: str, *, format: str | None = None) -> Census:
    """Counts what a result file holds. Raises ConfigError, and InputError if it is none."""
    census, name = Census(path=path), format_of(path, format)
    try:
        with open(path, "rb") as file:
            sink = sink_of_file(file, name)
            for row in read_results(file, sink):
                census.count(row.result)
    except BadResultFile as bad:
        if not bad.offset and not bad.torn:
            raise InputError(
                f"{path} is no result file: line {bad.line}: {bad.reason}",
                hint="name the output of a run; an inventory is looked at by batchkms check",
            ) from None
        if bad.torn and path.endswith(_PARTIAL):
            census.torn = bad.line
        else:
            census.damaged = f"line {bad.line:,}: {bad.reason}; what follows is not counted"
    except TooFarApart as error:
        census.damaged = f"{error}; what follows is not counted"
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint=hint_for(Path(path))
        ) from None
    _look_at_manifest(census)
    return census


def format_of(path: str, format: str | None) -> str:
    """The format of a result file, by its suffix unless it is given. Raises ConfigError."""
    if path == "-":
        raise ConfigError("a census needs a file, not stdin", hint="name a result file")
    name = format or _FORMATS.get(Path(path.lower().removesuffix(_PARTIAL)).suffix)
    if name is None:
        raise ConfigError(
            f"the suffix of {path} does not tell its format", hint="add --format jsonl or csv"
        )
    return name


def hint_for(path: Path) -> str:
    """What to try where a result file cannot be read."""
    partial = path.with_name(path.name + _PARTIAL)
    return f"the run has not ended: name {partial}" if partial.exists() else "check the path"


def _look_at_manifest(census: Census) -> None:
    try:
        manifest = Manifest.load(manifest_path(Path(census.path.removesuffix(_PARTIAL))))
    except ConfigError as error:
        census.notes.append(str(error))
        return
    if manifest is None:
        return
    content = manifest.content
    census.manifest = {name: content[name] for name in ("command", "state")}
    noted = (content.get("counts") or {}).get("rows")
    if manifest.finished and not census.path.endswith(_PARTIAL) and noted != census.rows:
        census.notes.append(
            f"the manifest counts {noted} rows: batchkms audit {census.path} names what differs"
        )


def _mode(row: Result) -> str:
    if row.ciphertext is None:
        return "plaintext"
    return row.mode or "direct"


def _table(label: str, counter: Counter[str]) -> Iterator[str]:
    for number, (value, rows) in enumerate(counter.most_common(SHOWN)):
        yield _line("" if number else label, f"{_short(value)}  {rows:,}")
    if len(counter) > SHOWN:
        yield _line("", f"and {len(counter) - SHOWN:,} more")


def _line(label: str, text: str) -> str:
    return f"  {label:12}{text}"


def _gap(gap: tuple[int, int]) -> str:
    return f"{gap[0]:,}" if gap[0] == gap[1] else f"{gap[0]:,} to {gap[1]:,}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
