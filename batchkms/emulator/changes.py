"""How one process tells others that it has written to the store they share.

SQLite can be asked for that too (`PRAGMA data_version`), but it takes 7 microseconds, and every
call asks. Here it is eight bytes of a file that every process maps into its memory: they change
with each write, to a value that was never there.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

FILE_NAME = "emulator.changes"
_MARK_BYTES = 8


class Changes:
    """The mark of the last write to a store, by whatever process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be mapped."""
        with open(path, "r+b") as file:
            if os.fstat(file.fileno()).st_size < _MARK_BYTES:
                os.truncate(file.fileno(), _MARK_BYTES)
            self._mark = mmap.mmap(file.fileno(), _MARK_BYTES)

    def mark(self) -> bytes:
        """What changes with every write."""
        return self._mark[:]

    def announce(self) -> None:
        """Tells that something has been written."""
        self._mark[:] = os.urandom(_MARK_BYTES)

    def close(self) -> None:
        """Gives the memory back."""
        self._mark.close()
