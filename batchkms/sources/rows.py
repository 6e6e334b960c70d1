"""Rows that hold a plaintext: id, plaintext, CMK and encryption context."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Any

from batchkms.records import MAX_PLAINTEXT_BYTES, Record
from batchkms.sources.base import Encoding, Fields
from batchkms.sources.mapping import (
    Kept,
    Mapper,
    Unusable,
    from_base64,
    kind_of,
    read_context,
    read_id,
    read_key,
    too_large,
)


class RowMapper(Mapper):
    """Maps the rows of one input.

    `needs_key` says that the job has no CMK of its own, so that each row must name one; it
    matters only where `fields.key` is set. A plaintext may have `max_plaintext_bytes`.
    """

    def __init__(
        self,
        fields: Fields,
        *,
        needs_key: bool = False,
        max_plaintext_bytes: int = MAX_PLAINTEXT_BYTES,
    ) -> None:
        super().__init__()
        self.columns = (fields.id, fields.plaintext, fields.key or "", fields.context)
        self._fields = fields
        self._key = fields.key
        self._needs_key = needs_key
        self._max_plaintext_bytes = max_plaintext_bytes
        self._decode = _DECODERS[fields.encoding]

    @property
    def _plaintext_column(self) -> str:
        return self._fields.plaintext

    @property
    def _context_column(self) -> str:
        return self._fields.context

    def _record(self, seq: int, values: Sequence[Any], kept: Kept) -> Record:
        row_id, text, key, context = values
        return Record(
            seq=seq,
            id=read_id(row_id, seq),
            plaintext=self._plaintext(text),
            key_id=None if self._key is None else read_key(key, self._key, needed=self._needs_key),
            encryption_context=None if context is None else read_context(context),
            kept=kept,
        )

    def _plaintext(self, text: object) -> bytes:
        if type(text) is not str:
            raise self._no_plaintext(text)
        if not text:
            raise Unusable("EmptyPlaintext", "the plaintext is empty, and KMS takes no empty one")
        plaintext = self._decode(text)
        if len(plaintext) > self._max_plaintext_bytes:
            raise too_large(plaintext, self._max_plaintext_bytes)
        return plaintext

    def _no_plaintext(self, text: object) -> Unusable:
        name = self._fields.plaintext
        if text is None:
            return Unusable(
                "MissingPlaintext",
                f"the row has no {name!r}; name its plaintext with --plaintext-field",
            )
        return Unusable("InvalidPlaintext", f"{name!r} is {kind_of(text)}; write it as a string")


def _from_base64(text: str) -> bytes:
    data = from_base64(text)
    if data is None:
        raise Unusable(
            "InvalidPlaintext",
            "the plaintext is no base64 in the standard alphabet with its padding; "
            "encode it anew or change --encoding",
        )
    return data


def _from_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise Unusable(
            "InvalidPlaintext",
            "the plaintext is no pairs of hexadecimal digits; encode it anew or change --encoding",
        ) from None


_DECODERS: dict[Encoding, Callable[[str], bytes]] = {
    "utf8": str.encode,
    "base64": _from_base64,
    "hex": _from_hex,
}
