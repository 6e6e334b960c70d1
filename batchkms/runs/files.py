"""Small file operations that must not be got wrong: private, durable, complete."""

from __future__ import annotations

import errno
import os
import select
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # looked at before each use

PRIVATE_FILE = 0o600


class NotOwn(OSError):
    """A file that others may read or write, or that is another one under a second name."""


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes every byte, however few the system takes at a time. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # Whoever shares this pipe with us made it non-blocking.
            select.select([], [fd], [])


def create_private(path: Path) -> int:
    """A descriptor of a new file that only its owner can read.

    Raises FileExistsError when something has that name already, a dangling link too.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, PRIVATE_FILE)
    # A umask may have taken more away than the rights of others.
    os.fchmod(fd, PRIVATE_FILE)
    return fd


def read_small(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file. Raises OSError, also for any other and for a longer one.

    A FIFO would make the opening wait, and a device would never end.
    """
    with regular_file(path) as file:
        # It may grow meanwhile.
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes")
    return content


def regular_file(path: Path) -> BinaryIO:
    """A file to read, if it is a regular one. Raises OSError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(os.open(path, flags), "rb")  # noqa: SIM115 - it is the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def open_own(path: Path) -> int:
    """A descriptor, to read and write, of a regular file that is this user's alone.

    Raises NotOwn for any other, and OSError. What it lets others do is taken away by
    `make_private`, once it is known that no other run writes it.
    """
    # A FIFO would make the opening wait.
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    fd = os.open(path, flags)
    found = os.fstat(fd)
    reason = None
    if not stat.S_ISREG(found.st_mode):
        reason = "is no regular file"
    elif hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        reason = "belongs to another user"
    elif found.st_nlink != 1:
        reason = "has a second name (a hard link)"
    if reason is not None:
        os.close(fd)
        raise NotOwn(errno.EPERM, reason)
    return fd


def make_private(fd: int) -> None:
    """Takes from everyone but the owner what they may do with an open file. Raises OSError."""
    if hasattr(os, "fchmod"):
        os.fchmod(fd, PRIVATE_FILE)


def is_special(path: str | Path) -> bool:
    """Whether it is a FIFO, a device or the like, of which reading may never come to an end."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def lock(fd: int) -> None:
    """Locks a file for this process until the descriptor is closed, however it ends.

    Raises BlockingIOError when another process holds it. Without such locks (Windows) every
    file is free.
    """
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file; False if there is none. Raises OSError."""
    if fcntl is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two that only look are not in each other's way.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError.

    Windows cannot open a folder, and keeps its names by itself.
    """
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def draft_path(path: Path) -> Path:
    """Where `replace_file` writes the new content of a file."""
    return path.with_name(f"{path.name}.tmp")


def replace_file(path: Path, data: bytes) -> None:
    """Puts a whole new content in the place of a file, so that a crash leaves old or new.

    The file is private to its owner. Raises OSError.
    """
    draft = draft_path(path)
    draft.unlink(missing_ok=True)
    fd = create_private(draft)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
