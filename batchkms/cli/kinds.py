"""Tells the results of a load test from those of a batch run: by record, or by the first line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from batchkms.errors import ConfigError, InputError
from batchkms.loadtest.reading import is_call
from batchkms.loadtest.runrecord import record_path
from batchkms.runs.files import read_small
from batchkms.runs.manifest import LONGEST_BYTES
from batchkms.sources.gunzip import GZIP_MAGIC

_LINE_BYTES = 64 * 1024

Kind = Literal["loadtest", "batch"]


class _Noted(msgspec.Struct):
    """What tells one from the other in the file beside it."""

    kind: str | None = None
    command: str | None = None


def kind_of(path: str) -> Kind:
    """What wrote a result file. Raises ConfigError for stdin, InputError if it is not there."""
    if path == "-":
        raise ConfigError("results are read from files, not from stdin", hint="name a file")
    first = _first_line(path)
    noted = _noted_beside(Path(path))
    if noted is not None and noted.kind == "batchkms loadtest":
        return "loadtest"
    if noted is not None and noted.command is not None:
        return "batch"
    # Results of batch runs are never compressed, and an empty file says nothing by itself.
    return "loadtest" if first.startswith(GZIP_MAGIC) or not first or is_call(first) else "batch"


def _first_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.readline(_LINE_BYTES)
    except OSError as error:
        partial = Path(f"{path}.partial")
        hint = f"the run has not ended: name {partial}" if partial.exists() else "check the path"
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from None


def _noted_beside(path: Path) -> _Noted | None:
    """The content of the file beside it; None if there is none that could be read."""
    try:
        content = read_small(record_path(path), LONGEST_BYTES)
        return msgspec.json.decode(content, type=_Noted)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError):
        return None
