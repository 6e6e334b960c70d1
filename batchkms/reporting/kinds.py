"""Tells the results of a load test from those of a batch run: by record, or by the first line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import orjson

from batchkms.errors import ConfigError, InputError
from batchkms.loadtest.reading import is_call
from batchkms.loadtest.runrecord import record_path
from batchkms.sources.gunzip import GZIP_MAGIC

_LINE_BYTES = 64 * 1024

Kind = Literal["loadtest", "batch"]


def kind_of(path: str) -> Kind:
    """What wrote a result file. Raises ConfigError for stdin, InputError if it is not there."""
    if path == "-":
        raise ConfigError("results are read from files, not from stdin", hint="name a file")
    first = _first_line(path)
    noted = _noted_beside(Path(path))
    if isinstance(noted, dict) and noted.get("kind") == "batchkms loadtest":
        return "loadtest"
    if isinstance(noted, dict) and "command" in noted:
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


def _noted_beside(path: Path) -> Any:
    """The content of the file beside it; None if there is none that could be read."""
    try:
        return orjson.loads(record_path(path).read_bytes())
    except (OSError, ValueError):
        return None
