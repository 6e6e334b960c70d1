"""The output in a file: private, locked, durable, complete only under its own name."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from batchkms.errors import ConfigError, OutputError
from batchkms.runs.files import (
    NotOwn,
    create_private,
    draft_path,
    is_locked,
    lock,
    make_private,
    open_own,
    sync_folder,
    write_all,
)
from batchkms.runs.manifest import manifest_path
from batchkms.runs.rowsums import RECORD_BYTES, packed
from batchkms.runs.writer import Bytes, GroupWriter

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}


def sums_path(output: Path) -> Path:
    """Where the checksums of an output's rows are; see `rowsums`."""
    return output.with_name(f"{output.name}.run.sums")


class FileOutput:
    """Implements `output.Output`. Results are under `OUT.partial` until they are complete.

    The partial file is locked as long as it is open, by a lock that dies with the process:
    whoever holds it is the only run that writes this output. A run begins with `create` or,
    to go on with rows that are there, with `reopen`, `adopt` for each of them, and `cut`. One
    that must look before it knows which of the two begins with `claim`.
    """

    def __init__(self, path: Path, *, overwrite: bool, fsync_interval_s: float) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.size_bytes = 0
        self.rows = 0
        self.overwrite = overwrite
        self._fsync_interval_s = fsync_interval_s
        self._digest = hashlib.sha256()
        self._fd = -1
        self._sums_fd = -1
        self._sums_bytes = 0
        self._writer: GroupWriter | None = None

    def files(self) -> list[Path]:
        """Every file that a run makes or replaces."""
        return [self.path, self.partial, manifest_path(self.path), *self.side_files()]

    def side_files(self) -> list[Path]:
        """Files that a run makes beside a partial file or a manifest, and never without."""
        return [draft_path(manifest_path(self.path)), sums_path(self.path), self._partial_sums]

    def create(self) -> None:
        """Makes the partial file and locks it. Raises ConfigError.

        One that is there is replaced only with `overwrite`, and only if no run writes it.
        """
        try:
            if self.overwrite and self.partial.exists():
                self._open_locked()
                self.partial.unlink()
                self.close()
            self._fd = create_private(self.partial)
            lock(self._fd)
            self._open_sums()
            sync_folder(self.path.parent)
        except OSError as error:
            self.close()
            raise self._refused(error) from None

    def claim(self) -> None:
        """Locks the partial file, and makes it if it is not there. Raises ConfigError."""
        try:
            if not self.partial.exists():
                os.close(create_private(self.partial))
                sync_folder(self.path.parent)
            self._open_locked()
        except OSError as error:
            self.close()
            raise self._refused(error) from None

    def release(self) -> None:
        """Lets go of the file again; one in which nothing is yet is removed."""
        with suppress(OSError):
            if self._fd >= 0 and not os.fstat(self._fd).st_size:
                self.discard()
        self.close()

    def refuse_if_written(self) -> None:
        """Raises ConfigError while another run writes the partial file. Makes nothing."""
        try:
            if is_locked(self.partial):
                raise BlockingIOError(errno.EAGAIN, "locked")
        except OSError as error:
            raise self._refused(error) from None

    def reopen(self) -> int:
        """Opens the partial file that is there and locks it; a descriptor to read it with.

        Raises ConfigError.
        """
        try:
            if self._fd < 0:
                self._open_locked()
            self._open_sums()
            return os.dup(self._fd)
        except OSError as error:
            self.close()
            raise self._refused(error) from None

    def adopt(self, rows: Sequence[bytes], seqs: Sequence[int] = ()) -> None:
        """Takes rows into account that are in the partial file already. Raises ConfigError."""
        try:
            self._take(b"".join(rows), packed(seqs, rows[len(rows) - len(seqs) :]))
        except OSError as error:
            raise self._refused(error) from None

    def cut(self) -> None:
        """Cuts off what follows the adopted rows. Raises ConfigError."""
        try:
            os.ftruncate(self._fd, self.size_bytes)
            os.lseek(self._fd, self.size_bytes, os.SEEK_SET)
        except OSError as error:
            raise self._refused(error) from None

    def begin(self) -> None:
        """Starts the writer. Needs a running event loop."""
        self._writer = GroupWriter(self, fsync_interval_s=self._fsync_interval_s)

    async def write(
        self, data: Bytes, sums: bytes = b"", let_go: Callable[[], None] | None = None
    ) -> None:
        """Takes whole rows."""
        if self._writer is not None:
            await self._writer.write(data, sums, let_go)

    async def complete(self) -> str:
        """Writes and syncs every row; the SHA-256 of them all. Raises OutputError."""
        await self._write_rest()
        try:
            os.fsync(self._sums_fd)
        except OSError as error:
            raise self._unwritten(error) from None
        return self._digest.hexdigest()

    def publish(self) -> None:
        """Gives the complete file its name. Raises OutputError."""
        try:
            if not self.overwrite and self.path.exists():
                raise OutputError(
                    f"another program made {self.path} while this run went on",
                    hint=f"the complete results are in {self.partial}",
                )
            if not os.path.samestat(os.fstat(self._fd), os.stat(self.partial)):
                raise FileNotFoundError(errno.ENOENT, "another file has taken its place")
            self._partial_sums.replace(sums_path(self.path))
            self.partial.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(
                f"{self.partial} cannot be renamed to {self.path.name}: {error.strerror}",
                hint="every result is in it; mend the cause, then run again with --resume",
            ) from None
        finally:
            # The lock must hold until the file has its name.
            self.close()

    async def abandon(self) -> None:
        """Leaves the partial file with every row that could be written. Raises OutputError.

        One without any row is removed: it would only be in the way of the next run.
        """
        try:
            await self._write_rest()
        finally:
            if self._fd >= 0 and not self.rows:
                self.discard()
            self.close()

    async def _write_rest(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.aclose()

    def append(self, data: Bytes, sums: bytes) -> None:
        """Writes at the end of the file, all or nothing. Runs in the writing thread."""
        try:
            write_all(self._fd, data)
            self._take(data, sums)
        except OSError as error:
            # A torn row at the end would make the whole file unreadable for some tools.
            with suppress(OSError):
                os.ftruncate(self._fd, self.size_bytes)
            raise self._unwritten(error) from None

    def sync(self) -> None:
        """Forces the file to the disk. Runs in the writing thread.

        A failed fsync is never tried again: the system may have dropped the pages by then, and
        a second one would succeed for nothing.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritten(error) from None

    def close(self) -> None:
        """Lets go of the files, and with them of the lock. What was synced is safe."""
        for fd in (self._fd, self._sums_fd):
            if fd >= 0:
                with suppress(OSError):
                    os.close(fd)
        self._fd = self._sums_fd = -1

    def discard(self) -> None:
        """Removes the partial file, in which no row is."""
        # The partial file last: while it is there, the other is known to be of a run.
        for path in (self._partial_sums, self.partial):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self.close()

    def where(self, *, finished: bool) -> str:
        """The path of the results now."""
        if finished:
            return str(self.path)
        return str(self.partial) if self.rows else "none"

    @property
    def _partial_sums(self) -> Path:
        return self.partial.with_name(f"{self.partial.name}.sums")

    def _open_locked(self) -> None:
        self._fd = open_own(self.partial)
        lock(self._fd)
        # Whoever held the lock a moment ago may have given the file its name since.
        if not os.path.samestat(os.fstat(self._fd), os.stat(self.partial)):
            raise BlockingIOError(errno.EAGAIN, "locked")
        # Whoever made it, plaintexts may come to be in it.
        make_private(self._fd)

    def _open_sums(self) -> None:
        # Made anew, not emptied: under a second name it may be somebody's file.
        self._partial_sums.unlink(missing_ok=True)
        self._sums_fd = create_private(self._partial_sums)

    def _take(self, data: Bytes, sums: bytes) -> None:
        write_all(self._sums_fd, sums)
        self.rows += len(sums) // RECORD_BYTES
        self._digest.update(data)
        self.size_bytes += len(data)

    def _refused(self, error: OSError) -> ConfigError:
        hint = "wait until it has ended, or name another output with -o"
        if isinstance(error, BlockingIOError):
            return ConfigError(f"another run is writing {self.partial}", hint=hint)
        if isinstance(error, FileExistsError):
            return ConfigError(f"another run has just made {self.partial}", hint=hint)
        if isinstance(error, NotOwn):
            return ConfigError(
                f"{self.partial} {error.strerror}, and results would not be private in it",
                hint="move it away, or name another output with -o",
            )
        return ConfigError(
            f"{self.partial} cannot be written: {error.strerror}",
            hint="check the permissions and the space of its folder, or another -o",
        )

    def _unwritten(self, error: OSError) -> OutputError:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        return OutputError(
            f"{self.partial} cannot be written: {error.strerror}",
            hint=f"{remedy}, then run again with --resume",
        )
