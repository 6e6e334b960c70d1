"""`batchkms merge`: one output of the outputs of all shares, as one run would have left it.

Its rows are copied byte by byte. It gets its name only when every file was read to its end and
found to be as its run left it. Until then nothing but the partial file and a manifest is made,
which another merge replaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from batchkms.errors import ConfigError, OutputError
from batchkms.records import Result
from batchkms.rowset import RowSet, TooFarApart
from batchkms.runs.fileoutput import FileOutput, sums_path
from batchkms.runs.fingerprint import path_text
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.mergedmanifest import finished_content, running_content
from batchkms.runs.output import open_output, refuse_input
from batchkms.runs.resultfile import ResultRow, sink_of_output
from batchkms.runs.rowsums import packed
from batchkms.runs.sharerows import refuse_changed, rows_of_all, seq_twice
from batchkms.runs.shares import Share
from batchkms.sinks import open_sink
from batchkms.tally import Tally

_LOT_ROWS, _LOT_BYTES = 1_000, 1024 * 1024

_SOME_FAILED = 1


def open_merged(path: str, shares: Sequence[Share], *, overwrite: bool) -> FileOutput:
    """Where the shares are merged to, with every refusal checked. Nothing is made yet.

    What a merge that died has left there is no reason to refuse. Raises ConfigError.
    """
    if path == "-":
        raise ConfigError(
            "merged results have a manifest beside them, and stdout has no place for one",
            hint="write to a file with -o FILE",
        )
    _refuse_other_format(path, shares[0])
    died = _left_by_merge(Path(path))
    first = str(shares[0].path)
    output = open_output(path, input_path=first, overwrite=overwrite or died)
    if not isinstance(output, FileOutput):
        raise TypeError("a path is no stdout")
    for share in shares:
        read = [share.path, manifest_path(share.path), sums_path(share.path)]
        if (inventory := share.content["input"]["path"]) != "-":
            read.append(Path(inventory))
        for used in output.files():
            for each in read:
                refuse_input(used, str(each))
    output.overwrite = overwrite
    return output


def _refuse_other_format(path: str, share: Share) -> None:
    format = share.content["output"]["format"]
    # One that is compressed is refused there, and one that says nothing is none of these.
    known = PurePath(path.lower()).suffix in (".jsonl", ".ndjson", ".csv")
    sink = open_sink(path, format=None if known else format)
    if sink.format != format:
        raise ConfigError(
            f"the results are {format}, and the suffix of {path} is of another format",
            hint=f"name it .{format}: rows are copied as they are",
        )


def _left_by_merge(path: Path) -> bool:
    """Whether what is there was left by a merge that died; never true of an output."""
    beside = manifest_path(path)
    partial = path.with_name(f"{path.name}.partial")
    if path.exists() or not partial.exists():
        return False
    manifest = Manifest.load(beside)
    if manifest is None:
        # It died before its first row, or another run did.
        return not partial.is_symlink() and not partial.stat().st_size
    return bool(manifest.content.get("merged"))


@dataclass(slots=True)
class Merge:
    """One merge of shares to an output. Use it once.

    `timeline` is that of all their runs, for the manifest. `tally` counts the rows, and the calls
    of the runs; `exit_code` is what a run with such a tally exits with.
    """

    shares: Sequence[Share]
    output: FileOutput
    ordered: bool
    timeline: list[dict[str, Any]]
    tally: Tally
    exit_code: Callable[[Tally], int]

    @property
    def manifest(self) -> Manifest:
        """The manifest of the output, as yet without a content."""
        return Manifest(manifest_path(self.output.path))

    def run(self) -> None:
        """Makes the output.

        Raises ConfigError, NotAsLeft and OutputError; nothing of it is left then but, where the
        complete file could not be given its name, that file.
        """
        replaced = self.output.path.exists()
        self._create()
        try:
            if not replaced:
                # Says what the partial file is of. Where an output is replaced, the manifest of
                # the old one stays as long as that does.
                self.manifest.replace(running_content(self.shares, self._described(None)))
            self._copy()
            self.output.sync()
            digest = asyncio.run(self.output.complete())
            self.manifest.replace(
                finished_content(
                    self.shares,
                    self._described(digest),
                    tally=self.tally,
                    exit_code=self.exit_code(self.tally),
                    ordered=self.ordered,
                    timeline=self.timeline,
                )
            )
        except BaseException:
            self.output.discard()
            if not replaced:
                with suppress(OSError):
                    self.manifest.path.unlink(missing_ok=True)
            raise
        self.output.publish()

    def _create(self) -> None:
        overwrite, self.output.overwrite = self.output.overwrite, True
        try:
            # A partial file that is there was found to be nobody's.
            self.output.create()
        finally:
            self.output.overwrite = overwrite

    def _described(self, digest: str | None) -> dict[str, Any]:
        described = self.shares[0].content["output"]
        return {
            "path": path_text(str(self.output.path)),
            "format": described["format"],
            "columns": described.get("columns", []),
            "overwrite": self.output.overwrite,
            "sha256": digest,
            "size_bytes": self.output.size_bytes,
            "rows": self.output.rows,
        }

    def _copy(self) -> None:
        seen = RowSet()
        if header := sink_of_output(self.shares[0].content["output"]).header():
            self.output.append(header, b"")
        lot: list[ResultRow] = []
        lot_bytes = 0
        for row in rows_of_all(self.shares, ordered=self.ordered):
            try:
                new = seen.add(row.result.seq)
            except TooFarApart as error:
                refuse_changed(self.shares)
                raise ConfigError(str(error), hint=error.hint) from None
            if not new:
                refuse_changed(self.shares)
                raise seq_twice(None, row)
            lot.append(row)
            lot_bytes += len(row.raw)
            if len(lot) == _LOT_ROWS or lot_bytes >= _LOT_BYTES:
                self._append(lot)
                lot, lot_bytes = [], 0
        self._append(lot)
        self._count_calls()

    def _append(self, lot: Sequence[ResultRow]) -> None:
        raw = [row.raw for row in lot]
        self.output.append(b"".join(raw), packed([row.result.seq for row in lot], raw))
        for row in lot:
            self._count(row.result)

    def _count(self, result: Result) -> None:
        # Their calls were made on other machines and at other times.
        result.latency_ms = None
        self.tally.rows += 1
        self.tally.count(result)

    def _count_calls(self) -> None:
        for share in self.shares:
            counts = share.content["counts"]
            self.tally.calls += counts.get("calls", 0)
            self.tally.retries += counts.get("retries", 0)
            self.tally.throttled += counts.get("throttled", 0)
            # A share says so where all its failures are retryable. Those that another run had
            # passed on to it are not, whatever their codes.
            self.tally.passed_on += share.content.get("exit_code") == _SOME_FAILED


def unfinished(error: OutputError) -> OutputError:
    """The same error with a hint for a merge, which is not resumed but done again."""
    hint = (error.hint or "").replace("run again with --resume", "merge again")
    return OutputError(error.message, hint=hint)
