"""Input formats: one file each, one interface (`batchkms.sources.base`)."""

from __future__ import annotations

import difflib
import os
from collections.abc import Set
from pathlib import PurePath

from batchkms.errors import ConfigError, InputError
from batchkms.records import MAX_PLAINTEXT_BYTES
from batchkms.sources.base import Fields, Source
from batchkms.sources.ciphertexts import CiphertextMapper
from batchkms.sources.csv import CsvReader
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.mapping import Mapper
from batchkms.sources.numbering import NumberedRows
from batchkms.sources.profiles import PROFILES, profile_reader
from batchkms.sources.reading import ResultReader, RowReader, StreamSource
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
    profile: str | None = None,
    fields: Fields | None = None,
    needs_key: bool = False,
    max_plaintext_bytes: int = MAX_PLAINTEXT_BYTES,
    longest_row_bytes: int | None = None,
) -> Source:
    """Opens an inventory, `-` for stdin.

    `format` is `jsonl` or `csv`; None goes by the suffix (`.gz` after it or not). `profile`
    names the tool whose export it is (`profiles.PROFILES`) and takes the place of `format` and
    `fields`. `needs_key` says that rows must name their CMK, as the job has none. Raises
    ConfigError for a format or profile that is not known, and for a profile with options that
    it cannot follow; InputError for an input that cannot be read.
    """
    if path != "-" and os.path.isdir(path):
        raise InputError(f"{path} is a folder", hint="name one file in it")
    fields = fields or Fields()
    if longest_row_bytes is None:
        longest_row_bytes = longest_row(fields, max_plaintext_bytes)
    reader: RowReader
    if profile is not None:
        _check_profile(profile, format, fields, needs_key=needs_key)
        stream = InputStream(path)
        reader = profile_reader(
            profile,
            name=stream.name,
            longest_row_bytes=longest_row_bytes,
            max_plaintext_bytes=max_plaintext_bytes,
        )
        return StreamSource(stream, reader)
    name = input_format(path, format)
    stream = InputStream(path)
    numbered: ResultReader
    # A header is refused that lacks one of them.
    unseen: Set[str] = frozenset()
    if name == "csv":
        mapper = _mapper(fields, needs_key=needs_key, max_plaintext_bytes=max_plaintext_bytes)
        numbered = CsvReader(mapper, fields, name=stream.name, longest_row_bytes=longest_row_bytes)
    else:
        numbered = jsonl = line_reader(
            stream.name,
            fields=fields,
            needs_key=needs_key,
            max_plaintext_bytes=max_plaintext_bytes,
            longest_row_bytes=longest_row_bytes,
        )
        unseen = jsonl.unseen
    rows = NumberedRows(numbered, name=stream.name)
    return StreamSource(
        stream,
        rows,
        options=fields.options(),
        unseen=unseen,
        lines_of=rows if name == "jsonl" else None,
    )


def longest_row(fields: Fields, max_plaintext_bytes: int) -> int:
    """How many bytes a row may have, as it is written."""
    short = fields.ciphertext is None and max_plaintext_bytes <= MAX_PLAINTEXT_BYTES
    return LONGEST_ROW_BYTES if short else LONGEST_SEALED_ROW_BYTES


def line_reader(
    name: str,
    *,
    fields: Fields,
    needs_key: bool,
    max_plaintext_bytes: int,
    longest_row_bytes: int,
) -> JsonlReader:
    """A reader of lines of JSON; see `open_source`."""
    return JsonlReader(
        _mapper(fields, needs_key=needs_key, max_plaintext_bytes=max_plaintext_bytes),
        name=name,
        longest_row_bytes=longest_row_bytes,
        keep=fields.keep,
        looked_for=fields.required,
    )


def _mapper(fields: Fields, *, needs_key: bool, max_plaintext_bytes: int) -> Mapper:
    if fields.ciphertext is not None:
        return CiphertextMapper(fields, needs_key=needs_key)
    return RowMapper(fields, needs_key=needs_key, max_plaintext_bytes=max_plaintext_bytes)


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


def _check_profile(profile: str, format: str | None, fields: Fields, *, needs_key: bool) -> None:
    """Raises ConfigError for a profile that is not known, or that cannot do what else is asked."""
    if profile not in PROFILES:
        near = difflib.get_close_matches(profile, PROFILES, n=1)
        raise ConfigError(
            f"{profile!r} is no input profile",
            hint=f"is it {near[0]}?" if near else f"write one of {', '.join(PROFILES)}",
        )
    if format is not None:
        raise ConfigError(
            f"the profile {profile} says itself what the format of the input is",
            hint="leave out --format, or --input-profile",
        )
    if fields.required or fields.key is not None or fields.encoding != "utf8":
        raise ConfigError(
            f"the profile {profile} says itself which fields it reads, and how",
            hint="leave out --id-field, --plaintext-field, --key-field, --context-field and "
            "--encoding, or --input-profile",
        )
    if needs_key:
        raise ConfigError(
            f"no secret in an input of the profile {profile} names a CMK", hint="add --key-id"
        )
