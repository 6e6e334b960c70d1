"""The calls of a load test in a file, `-o results.jsonl`: a line for each, its record beside it.

Whoever makes the calls is on the event loop and must not wait: `CallFile.write` only encodes, and
a thread of its own compresses and writes what `flush` hands over. Read again by `reading`.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from batchkms.errors import ConfigError, OutputError
from batchkms.loadtest.call import Call
from batchkms.loadtest.runrecord import RunRecord, record_path
from batchkms.runs.files import create_private, lock, open_own, replace_file, sync_folder, write_all
from batchkms.runs.output import refuse_file
from batchkms.serialthread import SerialThread

MOST_WAITING_BYTES = 64 * 1024 * 1024
"""What may wait to be written; at 25,000 calls/s a disk may stand still for 16 s."""

_STDOUT_FD = 1
_GZIP_WINDOW = 31
_GZIP_LEVEL = 3
"""Twice as fast as the usual one, for files that are a tenth larger."""

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}


class CallFile:
    """The output of one load test: `begin`, any number of `write` and `flush`, then `complete`.

    Or `abandon`, for a test that was ended early. Lines are under `OUT.partial`, private and
    locked, until then. `inputs` are files that must never be written to. `-` is stdout.

    Raises ConfigError when made, if the path cannot be the output: another one is there and
    `overwrite` is not set, it is an input, no regular file or in no folder. Nothing is made yet.
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool, inputs: Sequence[str | Path] = ()
    ) -> None:
        self.path = None if str(path) == "-" else Path(path)
        self._gzipped = self.path is not None and self.path.suffix == ".gz"
        self._overwrite = overwrite
        self._encode_into = msgspec.json.Encoder().encode_into
        self._buffer = bytearray()
        self._handed_bytes = 0
        self._size_bytes = 0
        self._error: OutputError | None = None
        self._fd = -1
        self._thread = SerialThread("batchkms-results")
        if self.path is not None:
            for each in (self.path, self.partial, record_path(self.path)):
                refuse_file(each, option="-o", overwrite=overwrite, inputs=inputs)

    @property
    def partial(self) -> Path:
        """Where the lines are until they are complete."""
        assert self.path is not None  # noqa: S101 - stdout has none, and nobody asks for it
        return _partial(self.path)

    def begin(self) -> None:
        """Makes the partial file and locks it. Raises ConfigError."""
        if self.path is None:
            self._fd = _STDOUT_FD
            return
        try:
            if self._overwrite and self.partial.exists():
                _remove_unlocked(self.partial)
            self._fd = create_private(self.partial)
            lock(self._fd)
            sync_folder(self.path.parent)
        except OSError as error:
            self._close()
            raise _unusable(self.partial, error) from None

    def write(self, call: Call) -> None:
        """Takes one call. Never waits; raises OutputError when the disk is too slow for them."""
        # Rounded like this, times take a third of what `round` does, and keep their order.
        sent = call.sent
        rounded = Call(
            int(call.scheduled * 1e6 + 0.5) / 1e6,
            None if sent is None else int(sent * 1e6 + 0.5) / 1e6,
            int(call.done * 1e6 + 0.5) / 1e6,
            call.action,
            call.outcome,
            call.bytes,
            call.code,
            call.request_id,
            call.attempts,
            call.warmup,
        )
        self._encode_into(rounded, self._buffer, -1)
        self._buffer += b"\n"
        if len(self._buffer) + self._handed_bytes > MOST_WAITING_BYTES:
            raise self._error or OutputError(
                f"{self._where} cannot be written as fast as calls end",
                hint="name a file on a faster disk, or leave -o out",
            )

    async def flush(self) -> None:
        """Writes what was taken. To be called some times a second; raises OutputError."""
        if self._error is not None:
            raise self._error
        if not self._buffer:
            return
        data, self._buffer = self._buffer, bytearray()
        self._handed_bytes += len(data)
        try:
            await self._thread.run(partial(self._append, data))
        finally:
            self._handed_bytes -= len(data)

    async def complete(self, record: RunRecord) -> None:
        """Writes the rest, gives the file its name, and writes the record. Raises OutputError."""
        try:
            await self.flush()
            await self._thread.run(partial(self._publish, record))
        finally:
            self._close()

    async def abandon(self, record: RunRecord | None) -> None:
        """Ends the file of a test that did not come to its end. Raises OutputError.

        What was measured until then is whole in itself. With its record, which tells the state,
        it is published like that of any other. Without one, or after a failed write, it stays
        what it is, `OUT.partial`; if no call is in it, it is removed.
        """
        try:
            if record is not None and self._error is None:
                await self.complete(record)
                return
            with suppress(OutputError):
                await self.flush()
            await self._thread.run(self._leave)
        finally:
            self._close()

    @property
    def _where(self) -> str:
        return "stdout" if self.path is None else str(self.partial)

    def _append(self, data: bytearray) -> None:
        """Writes whole lines, all or nothing. Runs in the thread, as all below."""
        if self._error is not None:
            raise self._error
        try:
            # A gzip member of their own: whatever comes later, they can be read.
            written = _gzip(data) if self._gzipped else data
            write_all(self._fd, written)  # type: ignore[arg-type]  # any bytes will do
            self._size_bytes += len(written)
        except OSError as error:
            if self.path is not None:
                with suppress(OSError):
                    os.ftruncate(self._fd, self._size_bytes)
            self._error = self._unwritten(error)
            raise self._error from None

    def _publish(self, record: RunRecord) -> None:
        if self.path is None:
            return
        written = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        try:
            if self._gzipped and not self._size_bytes:
                write_all(self._fd, _gzip(b""))
            os.fsync(self._fd)
            if not self._overwrite and self.path.exists():
                raise FileExistsError(errno.EEXIST, "another program has made that file since")
            # An old record must never be beside new calls, not even for a moment.
            record_path(self.path).unlink(missing_ok=True)
            self.partial.replace(self.path)
            replace_file(record_path(self.path), written)
        except OSError as error:
            raise self._unwritten(error) from None

    def _leave(self) -> None:
        if self.path is None or self._fd < 0:
            return
        with suppress(OSError):
            if self._size_bytes:
                os.fsync(self._fd)
            else:
                self.partial.unlink()

    def _close(self) -> None:
        self._thread.close()
        if self._fd >= 0 and self.path is not None:
            with suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def _unwritten(self, error: OSError) -> OutputError:
        if self.path is None and error.errno in (errno.EPIPE, errno.EBADF):
            return OutputError("stdout was closed by its reader", hint="write to a file with -o")
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        kept = f"; the calls until then are in {self._where}" if self._size_bytes else ""
        return OutputError(
            f"{self._where} cannot be written: {error.strerror}", hint=f"{remedy}{kept}"
        )


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _gzip(data: bytes | bytearray) -> bytes:
    member = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return member.compress(data) + member.flush()


def _remove_unlocked(path: Path) -> None:
    """Removes a partial file that nobody writes. Raises OSError."""
    fd = open_own(path)
    try:
        lock(fd)
        path.unlink()
    finally:
        os.close(fd)


def _unusable(path: Path, error: OSError) -> ConfigError:
    if isinstance(error, BlockingIOError | FileExistsError):
        return ConfigError(
            f"another run is writing {path}",
            hint="wait until it has ended, or name another output with -o",
        )
    return ConfigError(
        f"{path} cannot be written: {error.strerror}",
        hint="check the permissions and the space of its folder, or another -o",
    )
