"""Where results go: `OUT.partial`, which becomes `OUT` at the end, or stdout.

What must never happen is refused before anything is opened: an output that is the input, one
that exists, one that is no regular file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from batchkms.errors import ConfigError, OutputError
from batchkms.runs.files import create_private, sync_folder, write_all
from batchkms.runs.writer import GroupWriter

_STDIN_FD, _STDOUT_FD = 0, 1


class Output(Protocol):
    """The output of one run: `begin`, any number of `write`, then `finish` or `abandon`."""

    @property
    def path(self) -> Path | None:
        """The file that it becomes, None for stdout."""

    @property
    def size_bytes(self) -> int:
        """What was written so far."""

    def begin(self) -> None:
        """Creates it. Needs a running event loop. Raises ConfigError."""

    async def write(self, data: bytes) -> None:
        """Takes whole rows. Raises OutputError, possibly for rows that were taken before."""

    async def finish(self) -> str:
        """Completes it and returns the hexadecimal SHA-256 of it. Raises OutputError."""

    async def abandon(self) -> None:
        """Keeps what was written, as far as it can be. Raises OutputError."""

    def where(self, *, finished: bool) -> str:
        """What to call the place of the results in a message."""


def open_output(
    path: str, *, input_path: str, overwrite: bool = False, fsync_interval_s: float = 1.0
) -> Output:
    """The output at a path, `-` for stdout, with every refusal checked.

    Raises ConfigError if there is an output already and `overwrite` is not set, if it is the
    input, or if it cannot be a file there. Nothing is created yet.
    """
    if path == "-":
        return StdoutOutput()
    output = FileOutput(Path(path), overwrite=overwrite, fsync_interval_s=fsync_interval_s)
    output.check(input_path)
    return output


class StdoutOutput:
    """Results on stdout, as they come."""

    path = None

    def __init__(self) -> None:
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._writer: GroupWriter | None = None

    def begin(self) -> None:
        """Starts the writing thread."""
        self._writer = GroupWriter(self, fsync_interval_s=3600.0)

    async def write(self, data: bytes) -> None:
        """Takes whole rows."""
        await _begun(self._writer).write(data)

    async def finish(self) -> str:
        """Writes the rest; the SHA-256 of it all."""
        await _begun(self._writer).aclose()
        return self._digest.hexdigest()

    async def abandon(self) -> None:
        """Writes the rest."""
        await _begun(self._writer).aclose()

    def append(self, data: bytes) -> None:
        """Writes to stdout. Runs in the writing thread."""
        try:
            write_all(_STDOUT_FD, data)
        except OSError as error:
            closed = error.errno in (errno.EPIPE, errno.EBADF)
            raise OutputError(
                "stdout was closed by its reader"
                if closed
                else f"results cannot be written to stdout: {error.strerror}",
                hint="write to a file with -o FILE to keep every result",
            ) from None
        self._digest.update(data)
        self.size_bytes += len(data)

    def sync(self) -> None:
        """A pipe has nothing to sync."""

    def where(self, *, finished: bool) -> str:
        """Always `stdout`."""
        return "stdout"


class FileOutput:
    """Results in a file, private to its owner, under `OUT.partial` until they are complete."""

    def __init__(self, path: Path, *, overwrite: bool, fsync_interval_s: float) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.size_bytes = 0
        self._overwrite = overwrite
        self._fsync_interval_s = fsync_interval_s
        self._digest = hashlib.sha256()
        self._fd = -1
        self._writer: GroupWriter | None = None

    def check(self, input_path: str) -> None:
        """Raises ConfigError for an output that must not be written."""
        for path in (self.path, self.partial):
            _refuse_input(path, input_path)
            _refuse_odd_file(path)
        if not self.path.parent.is_dir():
            raise ConfigError(
                f"{self.path} cannot be written: there is no folder {self.path.parent}",
                hint="make the folder, or name another output with -o",
            )
        if self._overwrite:
            return
        if self.path.exists():
            raise ConfigError(
                f"the output {self.path} exists already",
                hint="name another one with -o, or add --overwrite to replace it",
            )
        if self.partial.exists():
            raise ConfigError(
                f"{self.partial} holds the results of a run that did not end",
                hint="move it away to keep its rows, or add --overwrite to begin anew",
            )

    def begin(self) -> None:
        """Creates the partial file and starts the writing thread. Raises ConfigError."""
        try:
            if self._overwrite:
                self.partial.unlink(missing_ok=True)
            self._fd = create_private(self.partial)
            sync_folder(self.path.parent)
        except OSError as error:
            raise ConfigError(
                f"{self.partial} cannot be written: {error.strerror}",
                hint="check the permissions and the space of its folder, or another -o",
            ) from None
        self._writer = GroupWriter(self, fsync_interval_s=self._fsync_interval_s)

    async def write(self, data: bytes) -> None:
        """Takes whole rows."""
        await _begun(self._writer).write(data)

    async def finish(self) -> str:
        """Gives the complete file its name; the SHA-256 of it."""
        await self._end()
        try:
            if not self._overwrite and self.path.exists():
                raise OutputError(
                    f"another program made {self.path} while this run went on",
                    hint=f"the complete results are in {self.partial}",
                )
            self.partial.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(
                f"{self.partial} cannot be renamed to {self.path.name}: {error.strerror}",
                hint="the results in it are complete; rename it yourself",
            ) from None
        return self._digest.hexdigest()

    async def abandon(self) -> None:
        """Leaves the partial file with every row that could be written."""
        await self._end()

    async def _end(self) -> None:
        try:
            await _begun(self._writer).aclose()
        finally:
            os.close(self._fd)

    def append(self, data: bytes) -> None:
        """Writes at the end of the file, all or nothing. Runs in the writing thread."""
        try:
            write_all(self._fd, data)
        except OSError as error:
            # A torn row at the end would make the whole file unreadable for some tools.
            with suppress(OSError):
                os.ftruncate(self._fd, self.size_bytes)
            raise self._unwritten(error) from None
        self._digest.update(data)
        self.size_bytes += len(data)

    def sync(self) -> None:
        """Forces the file to the disk. Runs in the writing thread.

        A failed fsync is never tried again: the system may have dropped the pages by then, and
        a second one would succeed for nothing.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> OutputError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return OutputError(
            f"{self.partial} cannot be written: {error.strerror}",
            hint="free some space; the rows that are in it are kept"
            if full
            else "check the disk; rows that were written earlier are kept",
        )

    def where(self, *, finished: bool) -> str:
        """The path of the results now."""
        return str(self.path if finished else self.partial)


def _begun(writer: GroupWriter | None) -> GroupWriter:
    if writer is None:
        raise RuntimeError("begin the output before writing to it")
    return writer


def _refuse_input(path: Path, input_path: str) -> None:
    with suppress(OSError, ValueError):
        given = os.fstat(_STDIN_FD) if input_path == "-" else os.stat(input_path)
        if os.path.samestat(path.stat(), given):
            raise ConfigError(
                f"the output {path} is the input itself",
                hint="name another output with -o: the input is never written to",
            )


def _refuse_odd_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such path can be"
        raise ConfigError(f"{path} cannot be used: {reason}", hint="check -o") from None
    if stat.S_ISLNK(mode):
        raise ConfigError(
            f"the output {path} is a symbolic link", hint="name the file that it points to"
        )
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ConfigError(
            f"the output {path} is {kind}", hint="name a file, or - to write to stdout"
        )
