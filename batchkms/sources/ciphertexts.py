"""Rows that hold a ciphertext: those of a result file, or of any other inventory of blobs.

An envelope says so in a column `mode` and brings its data key in a column `data_key`; see
`docs/envelope.md`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from batchkms.records import MAX_ENVELOPE_BYTES, Record
from batchkms.sources.base import Fields
from batchkms.sources.mapping import (
    Kept,
    Mapper,
    Unusable,
    kind_of,
    read_context,
    read_id,
    read_key,
)

_BLOB = re.compile(r"[A-Za-z0-9+/=_.:-]+")
"""What a ciphertext blob may hold; its shape is nowhere documented."""

_KEY_ID = re.compile(r"[!-~]{1,128}")
"""What is taken for the id of a CMK in the results of an earlier run."""

_LONGEST_BLOB = 64 * 1024
"""Ten times the blob of the longest plaintext, in characters."""

_LONGEST_ENVELOPE = 64 + (MAX_ENVELOPE_BYTES + 64) * 4 // 3


class CiphertextMapper(Mapper):
    """Maps the rows of one input. `needs_key` is as for `rows.RowMapper`."""

    def __init__(self, fields: Fields, *, needs_key: bool = False) -> None:
        super().__init__()
        self.columns = (
            *(fields.id, fields.content, fields.key or "", fields.context),
            *(fields.destination_context or "", "mode", "data_key", "key_id"),
        )
        self._fields = fields
        self._needs_key = needs_key

    @property
    def _plaintext_column(self) -> str:
        return self._fields.plaintext

    @property
    def _context_column(self) -> str:
        return self._fields.context

    def _values(self, row: dict[str, Any]) -> list[Any]:
        values = super()._values(row)
        destination = self._fields.destination_context
        if destination is not None and destination not in row:
            # Only a row that has the member names another context, or none with null or "".
            values[self.columns.index(destination)] = row.get(self._fields.context)
        return values

    def _record(self, seq: int, values: Sequence[Any], kept: Kept) -> Record:
        row_id, blob, key, context, destination, mode, data_key, source = values
        envelope = mode == "envelope"
        return Record(
            seq=seq,
            id=read_id(row_id, seq),
            ciphertext=self._blob(blob, _LONGEST_ENVELOPE if envelope else _LONGEST_BLOB),
            data_key=_data_key(data_key) if envelope else None,
            key_id=read_key(key, self._fields.key, needed=self._needs_key),
            encryption_context=read_context(context),
            destination_context=self._destination(destination, context),
            source_key_id=source if isinstance(source, str) and _KEY_ID.fullmatch(source) else None,
            kept=kept,
        )

    def _blob(self, blob: Any, longest: int) -> str:
        column = self._fields.ciphertext
        if blob is None or blob == "":
            raise Unusable(
                "NoCiphertext",
                f"the row has no {column!r}; name its ciphertext with --ciphertext-field",
            )
        return _checked(blob, longest, f"{column!r}")

    def _destination(self, destination: Any, context: Any) -> str | None:
        """The context to bind from now on: the one of the row unless it names another."""
        if self._fields.destination_context is None:
            return read_context(context)
        return read_context(destination)


def _data_key(value: Any) -> str:
    if value is None or value == "":
        raise Unusable(
            "InvalidCiphertext", "the row is an envelope and has no data_key; keep that column"
        )
    return _checked(value, _LONGEST_BLOB, "the data_key")


def _checked(blob: Any, longest: int, what: str) -> str:
    if not isinstance(blob, str):
        raise Unusable("InvalidCiphertext", f"{what} is {kind_of(blob)}; write it as a string")
    if len(blob) > longest:
        raise Unusable(
            "InvalidCiphertext",
            f"{what} has {len(blob):,} characters, more than any that KMS makes; restore it",
        )
    if not _BLOB.fullmatch(blob):
        raise Unusable(
            "InvalidCiphertext", f"{what} has characters that no ciphertext has; restore it"
        )
    return blob
