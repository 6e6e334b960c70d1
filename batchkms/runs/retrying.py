"""`batchkms retry`: the failed rows of a finished output are done again, all others are copied.

The old output stays as it is until the new one is complete and takes its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batchkms.errors import ConfigError, verdict_for
from batchkms.records import Result
from batchkms.rowset import RowSet, TooFarApart
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.kept import count_kept, keep_partial
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.resultfile import BadResultFile, ResultRow, read_results, sink_of_output
from batchkms.runs.rowsums import packed
from batchkms.tally import Tally

_LOT_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which failed rows are done again: those of some classes, or all that are retryable."""

    classes: frozenset[str] | None = None

    def or_of(self, manifest: Manifest) -> Selection:
        """The same or, if no class was named, that of the retry which has not ended."""
        if self.classes is not None or not manifest.retrying:
            return self
        noted = (manifest.content.get("retried") or [{}])[-1].get("classes")
        return Selection(frozenset(noted) if noted is not None else None)

    def takes(self, result: Result) -> bool:
        """Whether this row is done again."""
        if result.ok:
            return False
        if self.classes is not None:
            return result.error_class in self.classes
        return verdict_for(result.code or "").retryable


def manifest_to_retry(output: Path) -> Manifest:
    """The manifest of an output that can be retried. Raises ConfigError."""
    manifest = Manifest.load(manifest_path(output))
    if manifest is None or not output.exists():
        raise ConfigError(
            f"there is no finished output {output} with its manifest",
            hint="name the output of a run, without .partial",
        )
    if not manifest.finished and not manifest.retrying:
        raise ConfigError(
            f"the run of {output} has not finished",
            hint="finish it first: run its command again with --resume",
        )
    return manifest


def any_selected(output: Path, manifest: Manifest, selection: Selection) -> bool:
    """Whether a row of an output is to be done again, or the output is to be refused."""
    sink = sink_of_output(manifest.content["output"])
    digest = hashlib.sha256(sink.header())
    try:
        with output.open("rb") as file:
            for row in read_results(file, sink, lax=False):
                if selection.takes(row.result):
                    return True
                digest.update(row.raw)
    except (BadResultFile, OSError):
        return True
    return digest.hexdigest() != manifest.sha256_to_retry


class Retrying:
    """One retry of an output whose partial file is locked.

    `done` are the rows that need not be done, counted in `tally`; `sha256` is the digest of the
    output as it was found.

    Raises ConfigError if the output is not the one that its manifest is of, or if the partial
    output of an earlier retry is in the way.
    """

    def __init__(
        self,
        output: FileOutput,
        manifest: Manifest,
        selection: Selection,
        *,
        resume: bool,
        tally: Tally,
    ) -> None:
        self.done = RowSet()
        self.selected = 0
        # An empty one is this retry's own, or that of one that died before it had copied a row.
        self.resumed = output.partial.stat().st_size > 0
        self.sha256 = ""
        self._output = output
        self._sink = sink_of_output(manifest.content["output"])
        # That of the output before the retry, or, if only the last note was lost, after it.
        self._digests = {manifest.sha256_to_retry, manifest.content["output"].get("sha256")}
        self._selection = selection
        if self.resumed and not resume:
            raise ConfigError(
                f"{output.partial} is of a retry that did not end",
                hint="go on with it by --resume, or remove it",
            )
        output.overwrite = True
        self._copied = keep_partial(output, self._sink, tally).rows
        try:
            self._look(tally)
        except TooFarApart as error:
            raise self._changed(str(error)) from None

    def _look(self, tally: Tally) -> None:
        for row in self._rows():
            if row.result.seq in self._copied:
                self.done.add(row.result.seq)
            elif self._selection.takes(row.result):
                self.selected += 1
            else:
                self.done.add(row.result.seq)
                count_kept(tally, row.result)

    def copy_rows(self) -> None:
        """Copies what is kept into the partial output.

        Raises ConfigError, and OutputError where the copy does not fit.
        """
        if not self._output.size_bytes and (header := self._sink.header()):
            self._output.append(header, b"")
        rows: list[ResultRow] = []
        for row in self._rows(self._is_to_copy):
            rows.append(row)
            if len(rows) == _LOT_ROWS:
                self._copy(rows)
                rows = []
        self._copy(rows)

    def _is_to_copy(self, row: ResultRow) -> bool:
        return row.result.seq not in self._copied and not self._selection.takes(row.result)

    def _copy(self, rows: list[ResultRow]) -> None:
        raw = [row.raw for row in rows]
        self._output.append(b"".join(raw), packed([row.result.seq for row in rows], raw))

    def _rows(self, wanted: Callable[[ResultRow], bool] | None = None) -> Iterator[ResultRow]:
        digest = hashlib.sha256(self._sink.header())
        try:
            with self._output.path.open("rb") as file:
                for row in read_results(file, self._sink, lax=False):
                    digest.update(row.raw)
                    if wanted is None or wanted(row):
                        yield row
        except BadResultFile as bad:
            raise self._changed(f"line {bad.line}: {bad.reason}") from None
        except OSError as error:
            raise self._changed(str(error.strerror)) from None
        self.sha256 = digest.hexdigest()
        if self.sha256 not in self._digests:
            raise self._changed("its digest is another one")

    def _changed(self, how: str) -> ConfigError:
        return ConfigError(
            f"{self._output.path} is not as its run left it: {how}",
            hint="batchkms audit names what was changed; restore the file to retry its rows",
        )
