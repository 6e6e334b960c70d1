"""Reports on the disk: whether they can be made at all is known before a test begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from batchkms.errors import ConfigError, OutputError
from batchkms.runs.files import replace_file
from batchkms.runs.output import refuse_input, refuse_odd_file


def require_report() -> None:
    """Raises ConfigError unless what plots are made with is installed. Imports nothing."""
    if importlib.util.find_spec("plotly") is None:
        raise ConfigError(
            "a report needs plotly, which is not installed",
            hint="pip install 'batchkms[report]'",
        )


def refuse_report(path: Path, *, overwrite: bool, inputs: Sequence[str | Path] = ()) -> None:
    """Raises ConfigError if a report cannot be written there. Nothing is made."""
    for given in inputs:
        refuse_input(path, str(given))
    refuse_odd_file(path)
    if not path.parent.is_dir():
        raise ConfigError(
            f"{path} cannot be written: there is no folder {path.parent}",
            hint="make the folder, or name another file",
        )
    if path.exists() and not overwrite:
        raise ConfigError(
            f"{path} exists already",
            hint="name another file, or add --overwrite to replace it",
        )


def write_report(path: Path, html: str, overwrite: bool) -> None:
    """Writes a report, as a whole or not at all. Raises ConfigError and OutputError."""
    refuse_report(path, overwrite=overwrite)
    try:
        replace_file(path, html.encode("utf-8"))
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            hint="check the permissions and the space of its folder",
        ) from None
