"""Results on stdout, as they come."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable

from batchkms.errors import OutputError
from batchkms.runs.files import write_all
from batchkms.runs.writer import Bytes, GroupWriter

_STDOUT_FD = 1
_NEVER_S = 1e9


class StdoutOutput:
    """Implements `output.Output`; nothing of it can be resumed."""

    path = None

    def __init__(self) -> None:
        self.size_bytes = 0
        self.rows: int | None = None
        self._digest = hashlib.sha256()
        self._writer: GroupWriter | None = None

    def begin(self) -> None:
        """Starts the writing thread."""
        self._writer = GroupWriter(self, fsync_interval_s=_NEVER_S)

    async def write(
        self, data: Bytes, sums: bytes = b"", let_go: Callable[[], None] | None = None
    ) -> None:
        """Takes whole rows."""
        if self._writer is not None:
            await self._writer.write(data, b"", let_go)

    async def complete(self) -> str:
        """Writes the rest; the SHA-256 of it all. Raises OutputError."""
        await self.abandon()
        return self._digest.hexdigest()

    def publish(self) -> None:
        """There is nothing to rename."""

    async def abandon(self) -> None:
        """Writes the rest. Raises OutputError."""
        if self._writer is not None:
            await self._writer.aclose()

    def append(self, data: Bytes, sums: bytes) -> None:
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

    def close(self) -> None:
        """stdout stays open."""

    def release(self) -> None:
        """There is nothing to let go of."""

    def where(self, *, finished: bool) -> str:
        """Always `stdout`."""
        return "stdout"
