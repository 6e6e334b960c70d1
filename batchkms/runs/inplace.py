"""`--in-place-column`: OUT like the input, with the ciphertext in the place of the plaintext.

The results go to a file beside it, `OUT.results.jsonl`, with all that a run leaves on the disk.
When they are complete, OUT is made of the input and of them in one go, as a draft that is renamed.
The manifest of the results notes which OUT was made: so one that is there can be told from a file
of somebody else's, and from one that was made before failed rows were done again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from batchkms.errors import ConfigError, InputBroken, InputError, OutputError, RunStopped
from batchkms.runs.files import (
    create_private,
    draft_path,
    is_locked,
    lock,
    sync_folder,
    write_all,
)
from batchkms.runs.inplacerows import CsvRewriter, JsonlRewriter, Rewriter
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.output import refuse_input, refuse_odd_file, refuse_unclaimed
from batchkms.runs.resultfile import (
    BadResultFile,
    read_good_rows,
    read_row,
    resaved,
    sink_of_output,
)
from batchkms.runs.rowindex import OK, RowIndex, TooFarApart
from batchkms.sinks.base import Sink
from batchkms.sources import LONGEST_ROW_BYTES, input_format
from batchkms.sources.gunzip import StreamBroken
from batchkms.sources.stream import InputStream

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlaceColumn:
    """What OUT has: `rows`, of which `empty` have no ciphertext; of these, `unread` nothing."""

    path: str
    rows: int
    empty: int
    unread: int
    results: str
    """Where the reasons are."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_text(self) -> str:
        """In one line."""
        if not self.empty:
            return f"in place: {self.path}: {self.rows:,} rows, every one with its ciphertext"
        unread = f", {self.unread:,} of them without anything, as they cannot be read"
        return (
            f"in place: {self.path}: {self.rows:,} rows, {self.empty:,} without a ciphertext"
            f"{unread if self.unread else ''}; {self.results} says why"
        )


class InPlaceOutput:
    """The OUT of one job. `results` is the path of the results beside it."""

    def __init__(
        self,
        output: str,
        *,
        input_path: str,
        input_format_name: str | None,
        results_format: str | None,
        field: str,
        overwrite: bool,
        resume: bool,
    ) -> None:
        """Raises ConfigError for formats that do not fit."""
        self._path = Path(output)
        self._input = input_path
        self._format = input_format(input_path, input_format_name)
        self._field = field
        self._overwrite = overwrite
        self._resume = resume
        self.results = f"{output}.results.{results_format or 'jsonl'}"
        self._check_suffix()

    def refuse(self) -> None:
        """Raises ConfigError if OUT cannot be made. To be called before anything is sent."""
        for path in (self._path, draft_path(self._path)):
            refuse_input(path, self._input)
            refuse_odd_file(path)
        if self._overwrite:
            return
        manifest = self._manifest()
        if manifest is None:
            refuse_unclaimed(draft_path(self._path))
        there = self._path.exists()
        if not self._resume:
            if there:
                raise ConfigError(
                    f"the output {self._path} exists already",
                    hint="name another one with -o, or add --overwrite to replace it",
                )
            if manifest is not None and manifest.finished and Path(self.results).exists():
                raise ConfigError(
                    f"{self.results} holds the results of a run whose {self._path} was not made",
                    hint="make it by --resume, or begin anew with --overwrite",
                )
        elif there and not self._may_replace(manifest):
            raise ConfigError(
                f"{self._path} is there, and nothing says that this run made it",
                hint="name another one with -o, or begin anew with --overwrite",
            )

    async def finish(self) -> InPlaceColumn:
        """Makes OUT of the input and the complete results, unless it is there as it must be.

        Raises RunStopped; the results stay as they are then.
        """
        manifest = self._manifest()
        if manifest is None or not manifest.finished:
            raise OutputError(f"the manifest of {self.results} is gone", hint="restore it")
        noted = manifest.in_place
        try:
            present = await asyncio.to_thread(_sha256, self._path)
        except OSError as error:
            raise self._unwritten(error) from None
        made_of = manifest.content["output"].get("sha256")
        if present is not None and present == noted.get("sha256") and self._is_of(noted, made_of):
            return self._told(noted)
        if present not in (None, noted.get("sha256"), noted.get("replaces")) and not (
            self._overwrites(manifest) and not noted
        ):
            raise OutputError(
                f"another program made or changed {self._path}",
                hint="move it away, then run again with --resume",
            )
        return await self._make(manifest, present)

    async def _make(self, manifest: Manifest, present: str | None) -> InPlaceColumn:
        draft = draft_path(self._path)
        fd = self._draft(draft)
        try:
            with RowIndex() as index, _opened(self.results) as file:
                sink = sink_of_output(manifest.content["output"])
                ok_rows = await _index(file, sink, index)
                rewriter = self._rewriter(partial(_ciphertext, file, sink, index))
                digest = await self._write(fd, rewriter, manifest)
                if rewriter.replaced != ok_rows:
                    raise _changed(self._input)
            os.fsync(fd)
            noted = {
                "path": str(self._path),
                "sha256": digest,
                "results_sha256": manifest.content["output"].get("sha256"),
                "replaces": present,
                "rows": rewriter.rows,
                "empty": rewriter.rows - rewriter.replaced,
                "unread": rewriter.emptied,
            }
            # Noted first: a run that dies before the next step is then known to have made it.
            manifest.note_in_place(noted)
            if not os.path.samestat(os.fstat(fd), os.stat(draft)):
                raise FileNotFoundError(2, "another file has taken the place of its draft")
            draft.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._unwritten(error) from None
        finally:
            with suppress(OSError):
                if os.path.samestat(os.fstat(fd), os.stat(draft)):
                    draft.unlink()
            os.close(fd)
        return self._told(noted)

    async def _write(self, fd: int, rewriter: Rewriter, manifest: Manifest) -> str:
        """Writes every row and returns the SHA-256. Raises RunStopped for another input."""
        digest = hashlib.sha256()

        def write(rows: bytes) -> None:
            digest.update(rows)
            write_all(fd, rows)

        async with _same_input(self._input, manifest) as stream:
            async with aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    write(rewriter.feed(chunk))
            write(rewriter.end())
        return digest.hexdigest()

    def _rewriter(self, ciphertext_of: Any) -> Rewriter:
        if self._format == "jsonl":
            return JsonlRewriter(self._field, ciphertext_of, longest_row_bytes=LONGEST_ROW_BYTES)
        return CsvRewriter(
            self._field, ciphertext_of, name=self._input, longest_row_bytes=LONGEST_ROW_BYTES
        )

    def _draft(self, draft: Path) -> int:
        """A new draft, locked: one that a run left which died is removed. Raises OutputError."""
        try:
            if is_locked(draft):
                raise OutputError(f"another run is writing {draft}", hint="wait until it has ended")
            draft.unlink(missing_ok=True)
            fd = create_private(draft)
            lock(fd)
            return fd
        except OSError as error:
            raise self._unwritten(error) from None

    def _check_suffix(self) -> None:
        suffix = self._path.suffix.lower()
        if suffix in (".gz", ".bz2", ".xz", ".zst"):
            raise ConfigError(
                f"the output is not written compressed ({self._path})",
                hint="leave out the suffix and compress the file when the run has ended",
            )
        try:
            of_output = input_format(str(self._path), None)
        except ConfigError:
            return  # a name that promises nothing
        if of_output != self._format:
            raise ConfigError(
                f"with --in-place-column the output is like the input, which is {self._format}, "
                f"and {self._path} says otherwise",
                hint=f"name it with the suffix .{self._format}",
            )

    def _manifest(self) -> Manifest | None:
        return Manifest.load(manifest_path(Path(self.results)))

    def _overwrites(self, manifest: Manifest) -> bool:
        return self._overwrite or bool(manifest.content["output"].get("overwrite"))

    def _may_replace(self, manifest: Manifest | None) -> bool:
        if manifest is None:
            return False
        return bool(manifest.in_place) or self._overwrites(manifest)

    def _is_of(self, noted: dict[str, Any], results_sha256: object) -> bool:
        return noted.get("results_sha256") == results_sha256

    def _told(self, noted: dict[str, Any]) -> InPlaceColumn:
        return InPlaceColumn(
            path=str(self._path),
            rows=noted["rows"],
            empty=noted["empty"],
            unread=noted["unread"],
            results=self.results,
        )

    def _unwritten(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path} cannot be written: {error.strerror}",
            hint="the results are complete; mend the cause, then run again with --resume",
        )


def _opened(path: str) -> BinaryIO:
    return open(path, "rb")


async def _index(file: BinaryIO, sink: Sink, index: RowIndex) -> int:
    """Takes every result into the index and returns how many have a ciphertext."""
    ok_rows = 0
    if how := resaved(file, sink):
        raise OutputError(f"{file.name} was saved by another program: {how}", hint="restore it")
    for number, (offset, row) in enumerate(read_good_rows(file, sink)):
        if isinstance(row, BadResultFile):
            raise OutputError(f"{file.name}, line {row.line}: {row.reason}", hint="restore it")
        try:
            index.add(row.result.seq, offset, OK * row.result.ok)
        except TooFarApart:
            raise OutputError(
                f"{file.name}, line {row.line}: row {row.result.seq} lies so far from all others "
                "that no run has given it that number",
                hint="restore it",
            ) from None
        ok_rows += row.result.ok
        if not number % _ROWS_AT_ONCE:
            await asyncio.sleep(0)
    return ok_rows


def _ciphertext(file: BinaryIO, sink: Sink, index: RowIndex, seq: int) -> str | None:
    place = index.find(seq)
    if place is None or not place.flags & OK:
        return None
    return read_row(file, sink, place.offset).ciphertext


@asynccontextmanager
async def _same_input(path: str, manifest: Manifest) -> AsyncIterator[InputStream]:
    """The input, which must be the one of the run when it was read to its end.

    Raises RunStopped.
    """
    noted = manifest.content["input"]
    try:
        stream = InputStream(path)
        if stream.size_bytes != noted.get("size_bytes"):
            stream.close()
            raise _changed(path)
        yield stream
    except (InputError, InputBroken, StreamBroken) as error:
        raise RunStopped(
            f"the input cannot be read again: {error}",
            hint="restore it, then run again with --resume",
        ) from None
    if stream.sha256 != noted.get("sha256"):
        raise _changed(path)


def _changed(path: str) -> RunStopped:
    return RunStopped(
        f"{path} was changed since its rows were encrypted",
        hint="restore it, then run again with --resume",
    )


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
