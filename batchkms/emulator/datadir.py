"""Where the emulator keeps its keys, and who may read it: nobody else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from batchkms.errors import ConfigError

_HINT = "name another directory with --data-dir"


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """`batchkms/emulator` in the user's data directory (XDG Base Directory Specification).

    A relative `XDG_DATA_HOME` is ignored, as the specification asks. Raises ConfigError where
    there is no home directory either.
    """
    given = environ.get("XDG_DATA_HOME", "")
    try:
        base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"
    except RuntimeError:
        raise ConfigError(
            "there is no home directory to keep the emulator's keys in",
            hint="name a directory with --data-dir",
        ) from None
    return base / "batchkms" / "emulator"


def private_file(data_dir: Path, name: str) -> Path:
    """The path of a file in the data directory that exists and that only its owner may use.

    Directories that are missing are made with mode 0700; one that exists keeps its mode, as it
    may serve other ends too. Raises ConfigError.
    """
    path = data_dir / name
    try:
        _make_private(data_dir)
        # The mode is given at creation, so that there is no moment in which others could open it.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            # By the descriptor: a link that is put in its place meanwhile is not followed.
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unusable(data_dir, error.strerror or type(error).__name__) from None
    except ValueError as error:  # A NUL in the path.
        raise unusable(data_dir, str(error)) from None
    return path


def unusable(data_dir: Path, reason: str) -> ConfigError:
    """What to tell a user whose data directory cannot be used."""
    return ConfigError(f"the data directory {data_dir} cannot be used: {reason}", hint=_HINT)


def _make_private(directory: Path) -> None:
    if directory.is_dir():
        return
    if directory.parent != directory:
        _make_private(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
