"""Input formats: one file each, one interface (`batchkms.sources.base`)."""

from __future__ import annotations

from pathlib import PurePath

from batchkms.errors import ConfigError
from batchkms.sources.base import Fields, Source
from batchkms.sources.csv import CsvReader
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.reading import RowReader, StreamSource
from batchkms.sources.rows import RowMapper
from batchkms.sources.stream import InputStream

LONGEST_ROW_BYTES = 1024 * 1024

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_READERS: dict[str, type[JsonlReader] | type[CsvReader]] = {"jsonl": JsonlReader, "csv": CsvReader}


def open_source(
    path: str,
    *,
    format: str | None = None,
    fields: Fields | None = None,
    needs_key: bool = False,
    longest_row_bytes: int = LONGEST_ROW_BYTES,
) -> Source:
    """Opens an inventory, `-` for stdin.

    `format` is `jsonl` or `csv`; None goes by the suffix (`.gz` after it or not). `needs_key`
    says that rows must name their CMK, as the job has none. Raises ConfigError for a format
    that is not known and InputError for an input that cannot be read.
    """
    make = _READERS[input_format(path, format)]
    fields = fields or Fields()
    stream = InputStream(path)
    if make is CsvReader:
        reader: RowReader = CsvReader(
            fields, needs_key=needs_key, name=stream.name, longest_row_bytes=longest_row_bytes
        )
    else:
        mapper = RowMapper(fields, needs_key=needs_key)
        reader = JsonlReader(mapper, name=stream.name, longest_row_bytes=longest_row_bytes)
    return StreamSource(stream, reader)


def input_format(path: str, format: str | None) -> str:
    """The name of an input's format. Raises ConfigError where nothing tells it."""
    if format is not None:
        if format not in _READERS:
            raise ConfigError(
                f"{format!r} is no input format", hint=f"write one of {', '.join(_READERS)}"
            )
        return format
    if path == "-":
        raise ConfigError("stdin has no suffix that tells its format", hint="add --format")
    name = PurePath(path.lower())
    suffix = name.suffixes[-2] if name.suffix == ".gz" and len(name.suffixes) > 1 else name.suffix
    if suffix not in _FORMATS:
        raise ConfigError(
            f"the suffix of {path} does not tell its format",
            hint=f"add --format {' or --format '.join(_READERS)}",
        )
    return _FORMATS[suffix]
