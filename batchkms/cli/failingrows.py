"""The file of a check, with the rows that would fail: new, or in the place of an old one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchkms.errors import ConfigError
from batchkms.records import Result
from batchkms.runs.files import (
    create_private,
    draft_path,
    is_locked,
    lock,
    sync_folder,
    write_all,
)
from batchkms.runs.manifest import manifest_path
from batchkms.runs.output import refuse_input, refuse_odd_file
from batchkms.sinks import open_sink
from batchkms.sources import LONGEST_ROW_BYTES

Write = Callable[[Result], None]


@contextmanager
def failing_rows(path: str, *, input_path: str, replace: bool) -> Iterator[Write | None]:
    """Writes result rows to a file, or to stdout; None if there is no path.

    With `replace` an old file stays as it is until the new one is complete. Raises ConfigError.
    """
    if not path:
        yield None
        return
    sink = open_sink(path, format=None)
    with _opened(path, input_path=input_path, replace=replace) as fd:
        waiting = bytearray(sink.header())

        def flush() -> None:
            with _told(path, "check the disk"):
                write_all(fd, bytes(waiting))
            waiting.clear()

        def write(result: Result) -> None:
            waiting.extend(sink.encode([result])[0])
            if len(waiting) > LONGEST_ROW_BYTES:
                flush()

        yield write
        flush()


@contextmanager
def _opened(path: str, *, input_path: str, replace: bool) -> Iterator[int]:
    if path == "-":
        yield 1
    elif replace:
        with _draft_of(Path(path), input_path) as fd:
            yield fd
    else:
        with _told(path, "name a new file with -o, or add --overwrite to replace an old one"):
            fd = create_private(Path(path))
        try:
            yield fd
        finally:
            os.close(fd)


@contextmanager
def _draft_of(path: Path, input_path: str) -> Iterator[int]:
    """A descriptor of a draft, which takes the place of the file when all of it was written."""
    draft = draft_path(path)
    for used in (path, draft):
        refuse_input(used, input_path)
        refuse_odd_file(used)
    if manifest_path(path).exists():
        raise ConfigError(
            f"{path} is the output of a run, and no file of a check",
            hint="name another file with -o, for the rows that would fail",
        )
    with _told(str(path), "check the path of -o"):
        if is_locked(draft):
            raise ConfigError(f"another check is writing {draft}", hint="wait until it has ended")
        draft.unlink(missing_ok=True)
        fd = create_private(draft)
    try:
        with _told(str(draft), "check the disk"):
            lock(fd)
        yield fd
        with _told(str(path), "check the disk"):
            os.fsync(fd)
            draft.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


@contextmanager
def _told(path: str, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint=hint) from None
