"""Input formats: one file each, one interface (`batchkms.sources.base`)."""

from __future__ import annotations

from pathlib import PurePath

from batchkms.errors import ConfigError
from batchkms.records import MAX_PLAINTEXT_BYTES
from batchkms.sources.base import Fields, Source
from batchkms.sources.ciphertexts import CiphertextMapper
from batchkms.sources.csv import CsvReader
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.mapping import Mapper
from batchkms.sources.numbering import NumberedRows
from batchkms.sources.reading import RowReader, StreamSource
from batchkms.sources.rows import RowMapper
from batchkms.sources.stream import InputStream

LONGEST_ROW_BYTES = 1024 * 1024

LONGEST_SEALED_ROW_BYTES = 8 * 1024 * 1024
"""The same where a row may hold a MiB that is encrypted with a data key, or to be: each of its
bytes may be escaped."""

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_NAMES = ("jsonl", "csv")


def open_source(
    path: str,
    *,
    format: str | None = None,
    fields: Fields | None = None,
    needs_key: bool = False,
    max_plaintext_bytes: int = MAX_PLAINTEXT_BYTES,
    longest_row_bytes: int | None = None,
) -> Source:
    """Opens an inventory, `-` for stdin.

    `format` is `jsonl` or `csv`; None goes by the suffix (`.gz` after it or not). `needs_key`
    says that rows must name their CMK, as the job has none. Raises ConfigError for a format
    that is not known and InputError for an input that cannot be read.
    """
    name = input_format(path, format)
    fields = fields or Fields()
    mapper: Mapper
    if fields.ciphertext is not None:
        mapper = CiphertextMapper(fields, needs_key=needs_key)
    else:
        mapper = RowMapper(fields, needs_key=needs_key, max_plaintext_bytes=max_plaintext_bytes)
    if longest_row_bytes is None:
        short = fields.ciphertext is None and max_plaintext_bytes <= MAX_PLAINTEXT_BYTES
        longest_row_bytes = LONGEST_ROW_BYTES if short else LONGEST_SEALED_ROW_BYTES
    stream = InputStream(path)
    reader: RowReader
    if name == "csv":
        reader = CsvReader(mapper, fields, name=stream.name, longest_row_bytes=longest_row_bytes)
    else:
        reader = JsonlReader(
            mapper, name=stream.name, longest_row_bytes=longest_row_bytes, keep=fields.keep
        )
    return StreamSource(stream, NumberedRows(reader, name=stream.name))


def input_format(path: str, format: str | None) -> str:
    """The name of an input's format. Raises ConfigError where nothing tells it."""
    if format is not None:
        if format not in _NAMES:
            raise ConfigError(
                f"{format!r} is no input format", hint=f"write one of {', '.join(_NAMES)}"
            )
        return format
    if path == "-":
        raise ConfigError("stdin has no suffix that tells its format", hint="add --format")
    name = PurePath(path.lower())
    suffix = name.suffixes[-2] if name.suffix == ".gz" and len(name.suffixes) > 1 else name.suffix
    if suffix not in _FORMATS:
        raise ConfigError(
            f"the suffix of {path} does not tell its format",
            hint=f"add --format {' or --format '.join(_NAMES)}",
        )
    return _FORMATS[suffix]
