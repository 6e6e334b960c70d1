"""From the values of a row to a Record, or to the failed Result that says what is wrong with it.

Every message names the line, the reason and what to do, and nothing that stands in the row.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

import orjson

from batchkms.records import (
    MAX_CONTEXT_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_PLAINTEXT_BYTES,
    Record,
    Result,
    rejected,
)
from batchkms.sources.base import Encoding, Fields
from batchkms.sources.passed import is_result_row, passed_on

MAX_KEY_ID_CHARACTERS = 128

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Unusable(Exception):
    """A value that cannot be sent: the code of the failure and its reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class RowMapper:
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
        self._fields = fields
        self._needs_key = needs_key
        self._max_plaintext_bytes = max_plaintext_bytes
        self._decode = _DECODERS[fields.encoding]

    def from_object(self, row: dict[str, Any], seq: int, line: int) -> Record | Result:
        """Maps a JSON object. `seq` is the row's ordinal, used unless the row has its own."""
        if "status" in row and is_result_row(row):
            kept = passed_on(row, seq, line)
            if isinstance(kept, Result):
                return kept
            seq = kept
        fields = self._fields
        return self.from_values(
            seq,
            line,
            row.get(fields.id),
            row.get(fields.plaintext),
            None if fields.key is None else row.get(fields.key),
            row.get(fields.context),
        )

    def from_values(
        self, seq: int, line: int, row_id: object, text: object, key: object, context: object
    ) -> Record | Result:
        """Maps the four values that matter; None stands for one that is not there."""
        try:
            return Record(
                seq=seq,
                id=_id(row_id, seq),
                plaintext=self._plaintext(text),
                key_id=None if self._fields.key is None else self._key(key),
                encryption_context=None if context is None else _context(context),
            )
        except Unusable as problem:
            return rejected(
                seq,
                _valid(lambda: _id(row_id, seq)),
                problem.code,
                f"line {line}: {problem.reason}",
                encryption_context=_valid(lambda: None if context is None else _context(context)),
            )

    def _plaintext(self, text: object) -> bytes:
        if type(text) is not str:
            raise self._no_plaintext(text)
        if not text:
            raise Unusable("EmptyPlaintext", "the plaintext is empty, and KMS takes no empty one")
        return not_too_large(self._decode(text), self._max_plaintext_bytes)

    def _no_plaintext(self, text: object) -> Unusable:
        name = self._fields.plaintext
        if text is None:
            return Unusable(
                "MissingPlaintext",
                f"the row has no {name!r}; name its plaintext with --plaintext-field",
            )
        return Unusable("InvalidPlaintext", f"{name!r} is {kind_of(text)}; write it as a string")

    def _key(self, key: object) -> str | None:
        if key is None or key == "":
            if self._needs_key:
                raise Unusable(
                    "MissingKeyId",
                    f"the row names no CMK in {self._fields.key!r} and the job has none; "
                    "add --key-id for such rows",
                )
            return None
        if not isinstance(key, str):
            raise Unusable("InvalidKeyId", f"the key id is {kind_of(key)}; write it as a string")
        if len(key) > MAX_KEY_ID_CHARACTERS:
            raise Unusable(
                "InvalidKeyId",
                f"the key id has {len(key):,} characters, more than {MAX_KEY_ID_CHARACTERS}; "
                "check --key-field",
            )
        if _CONTROL.search(key):
            raise Unusable("InvalidKeyId", "the key id holds a control character; take it out")
        return key


def not_too_large(plaintext: bytes, max_plaintext_bytes: int) -> bytes:
    """The plaintext itself. Raises Unusable if it has more bytes than that."""
    if len(plaintext) > max_plaintext_bytes:
        raise Unusable(
            "PlaintextTooLarge",
            f"the plaintext has {len(plaintext):,} bytes, more than the "
            f"{max_plaintext_bytes:,} that KMS takes; split it",
        )
    return plaintext


def from_base64(text: str) -> bytes | None:
    """What a text in base64 stands for; None if it is no base64, or not written as it must be."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # Of which binascii.Error is one.
        return None
    # The decoder lets stray bits at the end and odd padding pass: encoding again does not.
    return data if base64.b64encode(data).decode() == text else None


def kind_of(value: object) -> str:
    """What to call a JSON value that is no string, with its article."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", list: "an array"}
    return kinds.get(type(value), "an object")


def _id(row_id: object, seq: int) -> str:
    if row_id is None or row_id == "":
        return str(seq)
    if type(row_id) is str:
        if len(row_id) > MAX_ID_CHARACTERS:
            raise Unusable(
                "InvalidId",
                f"the id has {len(row_id):,} characters, more than {MAX_ID_CHARACTERS:,}; "
                "check --id-field",
            )
        return row_id
    if type(row_id) is int:
        return str(row_id)
    raise Unusable("InvalidId", f"the id is {kind_of(row_id)}; write it as a string")


def _context(context: object) -> str | None:
    """The string to send: one given as a string verbatim, an object as its compact JSON."""
    if context == "":
        return None
    verbatim = context if isinstance(context, str) else None
    if verbatim is not None:
        try:
            context = orjson.loads(verbatim)
        except orjson.JSONDecodeError:
            raise Unusable(
                "InvalidContext",
                "the encryption context is no valid JSON; write an object of strings",
            ) from None
    if not isinstance(context, dict) or not all(type(v) is str for v in context.values()):
        raise Unusable(
            "InvalidContext",
            "the encryption context is no JSON object whose values are all strings; "
            "write it as one",
        )
    # Only now: what is nested deeper than the encoder goes is no object of strings either.
    sent = orjson.dumps(context).decode() if verbatim is None else verbatim
    if len(sent) > MAX_CONTEXT_CHARACTERS:
        raise Unusable(
            "ContextTooLong",
            f"the encryption context has {len(sent):,} characters, more than the "
            f"{MAX_CONTEXT_CHARACTERS:,} that KMS takes; shorten it",
        )
    return sent


def _valid(read: Callable[[], str | None]) -> str | None:
    try:
        return read()
    except Unusable:
        return None


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
