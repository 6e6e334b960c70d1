"""From the values of a row to a Record, or to the failed Result that says what is wrong with it.

Every message names the line, the reason and what to do, and nothing that stands in the row.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from batchkms.records import (
    MAX_CONTEXT_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_PLAINTEXT_BYTES,
    RESERVED_CONTEXT_MEMBER,
    Record,
    Result,
    rejected,
)
from batchkms.sources.passed import is_own, is_result_row, passed_on

MAX_KEY_ID_CHARACTERS = 128

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Kept = dict[str, Any] | None


class Unusable(Exception):
    """A value that cannot be sent: the code of the failure and its reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Mapper(ABC):
    """Maps the rows of one input. What makes a record of them, a subclass says."""

    columns: tuple[str, ...]
    """The columns whose values `from_values` takes; an empty name stands for one that is not read.
    """

    def __init__(self) -> None:
        self.first_own: int | None = None
        """The ordinal of the first row that brought a `seq` of its own."""

    def from_object(
        self, row: dict[str, Any], seq: int, line: int, kept: Kept = None
    ) -> Record | Result:
        """Maps a JSON object. `seq` is the row's ordinal, used unless the row has its own."""
        if "status" in row and is_result_row(row):
            own = self.own_seq(row, seq, line, kept)
            if isinstance(own, Result):
                return own
            seq = own
        return self.from_values(seq, line, self._values(row), kept)

    def _values(self, row: dict[str, Any]) -> list[Any]:
        """The values of `columns` in a JSON object."""
        get = row.get
        return [get(column) for column in self.columns]

    def from_values(
        self, seq: int, line: int, values: Sequence[Any], kept: Kept = None
    ) -> Record | Result:
        """Maps the values of `columns`; None stands for one that is not there."""
        try:
            return self._record(seq, values, kept)
        except Unusable as problem:
            row_id, context = values[0], values[self.columns.index(self._context_column)]
            result = rejected(
                seq,
                valid(lambda: read_id(row_id, seq)),
                problem.code,
                f"line {line}: {problem.reason}",
                encryption_context=valid(lambda: read_context(context)),
            )
            result.kept = kept
            return result

    def own_seq(
        self, row: Mapping[str, Any], ordinal: int, line: int, kept: Kept, *, lax: bool = False
    ) -> int | Result:
        """The `seq` that a result row brought, or the Result of one that passes through."""
        secret_columns = {"plaintext", self._plaintext_column}
        own = passed_on(row, ordinal, line, lax=lax, secret_columns=secret_columns)
        if self.first_own is None and is_own(own):
            self.first_own = ordinal
        if isinstance(own, Result):
            own.kept = kept
        return own

    @property
    @abstractmethod
    def _plaintext_column(self) -> str:
        """The column of the plaintext, if the input has one."""

    @property
    @abstractmethod
    def _context_column(self) -> str:
        """The column of the encryption context."""

    @abstractmethod
    def _record(self, seq: int, values: Sequence[Any], kept: Kept) -> Record:
        """The record of some values. Raises Unusable."""


def read_id(row_id: object, seq: int) -> str:
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


def read_context(context: object) -> str | None:
    """The string to send: one given as a string verbatim, an object as its compact JSON."""
    if context is None or context == "":
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
    if RESERVED_CONTEXT_MEMBER in context:
        raise Unusable(
            "InvalidContext",
            f"the encryption context has the member {RESERVED_CONTEXT_MEMBER!r}, which only those "
            "of data keys have; name it otherwise",
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


def valid(read: Callable[[], str | None]) -> str | None:
    try:
        return read()
    except Unusable:
        return None


def read_key(key: object, column: str | None, *, needed: bool) -> str | None:
    """The CMK that a row names, None if it names none. Raises Unusable, also if one is `needed`."""
    if column is None:
        return None
    if key is None or key == "":
        if needed:
            raise Unusable(
                "MissingKeyId",
                f"the row names no CMK in {column!r} and the job has none; "
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


def kind_of(value: object) -> str:
    """What to call a JSON value that is no string, with its article."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", list: "an array"}
    return kinds.get(type(value), "an object")


def too_large(plaintext: bytes, max_plaintext_bytes: int) -> Unusable:
    """What is wrong with a plaintext that has more bytes than that."""
    size, most = f"{len(plaintext):,}", f"{max_plaintext_bytes:,}"
    if max_plaintext_bytes <= MAX_PLAINTEXT_BYTES:
        reason = f"more than the {most} that KMS takes; split it, or add --oversize envelope"
    else:
        reason = f"more than the {most} that are encrypted with a data key; split it"
    return Unusable("PlaintextTooLarge", f"the plaintext has {size} bytes, {reason}")


def from_base64(text: str) -> bytes | None:
    """What a text in base64 stands for; None if it is no base64, or not written as it must be."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # Of which binascii.Error is one.
        return None
    # The decoder lets stray bits at the end and odd padding pass: encoding again does not.
    return data if base64.b64encode(data).decode() == text else None
