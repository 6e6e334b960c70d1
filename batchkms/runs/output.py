"""Where results go: `OUT.partial`, which becomes `OUT` at the end, or stdout.

What must never happen is refused before anything is opened: an output that is the input, one
that exists, one that is no regular file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from batchkms.errors import ConfigError, OutputError
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.files import create_private, draft_path, replace_file
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.stdout import StdoutOutput
from batchkms.runs.writer import Bytes

_STDIN_FD = 0


class Output(Protocol):
    """The output of one run: `begin`, any number of `write`, `complete` and `publish`.

    Or `abandon`, when the run does not come to its end.
    """

    @property
    def path(self) -> Path | None:
        """The file that it becomes, None for stdout."""

    @property
    def size_bytes(self) -> int:
        """What was written so far."""

    @property
    def rows(self) -> int | None:
        """How many rows were written so far; None where they are not counted."""

    def begin(self) -> None:
        """Starts writing. Needs a running event loop."""

    async def write(
        self, data: Bytes, sums: bytes = b"", let_go: Callable[[], None] | None = None
    ) -> None:
        """Takes whole rows and their records of `rowsums`; a header has none.

        `let_go` is called when their bytes are not needed any more. Raises OutputError, possibly
        for rows that were taken before.
        """

    async def complete(self) -> str:
        """Writes all of it and returns its hexadecimal SHA-256. Raises OutputError."""

    def publish(self) -> None:
        """Gives the complete output its name. Raises OutputError."""

    async def abandon(self) -> None:
        """Keeps what was written, as far as it can be. Raises OutputError."""

    def where(self, *, finished: bool) -> str:
        """What to call the place of the results in a message."""


def open_output(
    path: str,
    *,
    input_path: str,
    overwrite: bool = False,
    resume: bool = False,
    fsync_interval_s: float = 1.0,
) -> FileOutput | StdoutOutput:
    """The output at a path, `-` for stdout, with every refusal checked.

    Raises ConfigError if there is an output already and `overwrite` is not set, if it is the
    input, or if it cannot be a file there. With `resume`, an output or a partial one is no
    reason to refuse. Nothing is created yet.
    """
    if path == "-":
        if resume:
            raise ConfigError(
                "a run to stdout cannot be resumed", hint="write to a file with -o FILE"
            )
        return StdoutOutput()
    manifest_path(Path(path))
    output = FileOutput(Path(path), overwrite=overwrite, fsync_interval_s=fsync_interval_s)
    for used in output.files():
        refuse_input(used, input_path)
        refuse_odd_file(used)
    if not output.path.parent.is_dir():
        raise ConfigError(
            f"{output.path} cannot be written: there is no folder {output.path.parent}",
            hint="make the folder, or name another output with -o",
        )
    if not overwrite and not resume:
        _refuse_existing(output)
    if not overwrite:
        # One that is no manifest is somebody else's file, and told as an error here.
        manifest = Manifest.load(manifest_path(output.path))
        if manifest is None and not output.partial.exists():
            for used in output.side_files():
                refuse_unclaimed(used)
    return output


def _refuse_existing(output: FileOutput) -> None:
    output.refuse_if_written()
    if output.partial.exists():
        raise ConfigError(
            f"{output.partial} holds the results of a run that did not end",
            hint="go on with it by --resume, or begin anew with --overwrite",
        )
    if output.path.exists():
        raise ConfigError(
            f"the output {output.path} exists already",
            hint="name another one with -o, or add --overwrite to replace it",
        )


def refuse_unclaimed(path: Path) -> None:
    """Raises ConfigError if there is a file that a run would replace, and none has left it."""
    if path.exists():
        raise ConfigError(
            f"{path} is there, and nothing beside it says that a run has made it",
            hint="move it away or name another output with -o, or replace it by --overwrite",
        )


def refuse_input(path: Path, input_path: str) -> None:
    """Raises ConfigError if a file that will be written is the input."""
    with suppress(OSError, ValueError):
        given = os.fstat(_STDIN_FD) if input_path == "-" else os.stat(input_path)
        if os.path.samestat(path.stat(), given):
            raise ConfigError(
                f"the output {path} is the input itself",
                hint="name another output with -o: the input is never written to",
            )


def refuse_file(
    path: Path, *, option: str, overwrite: bool, inputs: Sequence[str | Path] = ()
) -> None:
    """Raises ConfigError if a whole new file cannot be written there, as `option` asks for.

    It must not be there yet, unless `overwrite` is set, and is never one of the inputs.
    """
    for given in inputs:
        refuse_input(path, str(given))
    refuse_odd_file(path)
    if not path.parent.is_dir():
        raise ConfigError(
            f"{path} cannot be written: there is no folder {path.parent}",
            hint=f"make the folder, or name another file with {option}",
        )
    if path.exists() and not overwrite:
        raise ConfigError(
            f"{path} exists already",
            hint=f"name another file with {option}, or add --overwrite to replace it",
        )
    _prove_writable(path, option)


def _prove_writable(path: Path, option: str) -> None:
    """Makes a draft of the file and removes it. Raises ConfigError if that cannot be done."""
    draft = draft_path(path)
    try:
        draft.unlink(missing_ok=True)
        os.close(create_private(draft))
        draft.unlink()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"check the permissions and the space of its folder, or name another file with "
            f"{option}",
        ) from None


def write_whole(path: Path, data: bytes) -> None:
    """Puts a file there that is private and whole, or none at all. Raises OutputError."""
    try:
        replace_file(path, data)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            hint="check the permissions and the space of its folder",
        ) from None


def refuse_odd_file(path: Path) -> None:
    """Raises ConfigError if something has that name that is no regular file."""
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
