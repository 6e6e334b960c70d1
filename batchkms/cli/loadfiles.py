"""The files that a load test writes: refused before its first call, written after its last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batchkms.errors import ConfigError, OutputError, RunStopped
from batchkms.job import JobSpec
from batchkms.loadtest.hgrm import hgrm_text, send_path
from batchkms.loadtest.junit import junit_xml
from batchkms.loadtest.results import CallFile
from batchkms.loadtest.runrecord import RunRecord
from batchkms.loadtest.statistics import Statistics
from batchkms.loadtest.summary import LoadSummary
from batchkms.runs.output import refuse_file, write_whole


class LoadFiles:
    """`calls` is where every call is kept, if that was asked for; nothing is made yet.

    Raises ConfigError for a file that is there already without `--overwrite`, or that cannot be
    written where it is to be.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._inputs = [spec.input] if spec.input else []
        for option, path in self._named():
            refuse_file(path, option=option, overwrite=spec.overwrite, inputs=self._inputs)
        if spec.report:
            from batchkms.reporting.html import require_report

            require_report()
        self._ended = False
        self._written: dict[str, list[str]] = {}
        self.calls: CallFile | None = None
        if spec.output.lower().endswith(".csv"):
            raise ConfigError(
                "-o writes a line of JSON for each call, and no CSV",
                hint="name it .jsonl or .jsonl.gz",
            )
        if spec.output:
            self.calls = CallFile(spec.output, overwrite=spec.overwrite, inputs=self._inputs)

    def begin(self) -> None:
        """Makes the file of the calls. Raises ConfigError."""
        if self.calls is not None:
            self.calls.begin()

    async def abandon(self) -> None:
        """Leaves the calls so far where they are: the run has ended without a record."""
        if self.calls is not None and not self._ended:
            with suppress(OutputError):
                await self.calls.abandon(None)

    async def end(
        self, record: RunRecord, statistics: Statistics, error: RunStopped | None
    ) -> RunStopped | None:
        """Writes every file, as far as that can be; the first error there was."""
        self._ended = True
        if self.calls is not None:
            error = await self._end_calls(self.calls, record, error)
        for name, path, made in self._contents(record, statistics):
            try:
                write_whole(path, made())
                self._written[name] = [*self._written.get(name, []), str(path)]
            except OutputError as failed:
                error = error or failed
        return error

    async def _end_calls(
        self, calls: CallFile, record: RunRecord, error: RunStopped | None
    ) -> RunStopped | None:
        try:
            if error is None:
                await calls.complete(record)
                self._written["results"] = ["stdout" if calls.path is None else str(calls.path)]
            else:
                await calls.abandon(None)
        except OutputError as failed:
            error = error or failed
        if calls.path is not None and error is not None and calls.partial.exists():
            self._written["results"] = [str(calls.partial)]
        return error

    def named_in(self, summary: LoadSummary) -> LoadSummary:
        """The summary with the files that were written, and no other."""
        written = {name: ", ".join(paths) for name, paths in self._written.items()}
        output, report = written.pop("results", None), written.pop("report", None)
        return replace(summary, output=output, report=report, files=written)

    def _named(self) -> list[tuple[str, Path]]:
        spec = self._spec
        named = [("--report", spec.report), ("--junit", spec.junit), ("--hgrm", spec.hgrm)]
        paths = [(option, Path(path)) for option, path in named if path]
        return paths + ([("--hgrm", send_path(Path(spec.hgrm)))] if spec.hgrm else [])

    def _contents(
        self, record: RunRecord, statistics: Statistics
    ) -> list[tuple[str, Path, Callable[[], bytes]]]:
        """The name of each file beside that of the calls, where it is, and what makes it."""
        spec = self._spec
        made: list[tuple[str, Path, Callable[[], bytes]]] = []
        if spec.junit:
            made.append(("junit", Path(spec.junit), lambda: junit_xml(record, statistics)))
        if spec.hgrm:
            path, schedule, send = Path(spec.hgrm), statistics.from_schedule, statistics.from_send
            made.append(("hgrm", path, lambda: hgrm_text(schedule).encode()))
            made.append(("hgrm", send_path(path), lambda: hgrm_text(send).encode()))
        if spec.report:
            # What tells it from others in the tabs of a browser.
            title = Path(spec.output).name if spec.output else record.endpoint
            made.append(("report", Path(spec.report), lambda: _report(record, statistics, title)))
        return made


def _report(record: RunRecord, statistics: Statistics, title: str) -> bytes:
    from batchkms.loadtest.report import render_loadtest

    return render_loadtest(statistics, [record], title).encode()
