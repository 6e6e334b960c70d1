"""Output formats: one file each, one interface (`batchkms.sinks.base`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from batchkms.errors import ConfigError
from batchkms.sinks.base import Sink
from batchkms.sinks.csv import CsvSink
from batchkms.sinks.jsonl import JsonlSink

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_SINKS: dict[str, type[JsonlSink] | type[CsvSink]] = {"jsonl": JsonlSink, "csv": CsvSink}


def open_sink(path: str, *, format: str | None = None, columns: tuple[str, ...] = ()) -> Sink:
    """The format of a result file: the one named, else the one of its suffix; JSONL on stdout.

    `columns` are those beyond the columns of every result file.

    Raises ConfigError for one that is not known. Results are not compressed while they are
    written: what is cut off in the middle of a compressed block could not be read again.
    """
    suffix = PurePath(path.lower()).suffix
    if suffix in (".gz", ".bz2", ".xz", ".zst"):
        raise ConfigError(
            f"results are not written compressed ({path})",
            hint="leave out the suffix and compress the file when the run has ended",
        )
    name = format or (_FORMATS.get(suffix) if path != "-" else "jsonl")
    if name not in _SINKS:
        raise ConfigError(
            f"the suffix of {path} does not tell the format of the results",
            hint="name it .jsonl or .csv, or add --output-format",
        )
    return _SINKS[name](columns)


def sink_of(format: str, columns: Sequence[str] = ()) -> Sink:
    """The format of this name, with these columns beyond the common ones. Raises KeyError."""
    return _SINKS[format](tuple(columns))
