"""Rows of a file as what the calls of a load test carry: the first ones, again and again."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from batchkms.errors import InputBroken, InputError
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from batchkms.records import EarlierResult, Record, Result
from batchkms.sources.base import Source, unseen_texts

MOST_ROWS = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""So many rows, and bytes of them, are held: a load test needs calls that differ, not all rows."""

Batch = list[Record | Result]

PackedRow: TypeAlias = tuple[str | None, str | None, str | None, str | None, str | None, str | None]
"""All of a row, as one process gives it to another."""

_LIKE_UUID = re.compile(r"[0-9a-f-]{6,36}")


class Row:
    """What one row brings to a call. Texts are as they go over the wire.

    `plaintext` is base64, or `ciphertext` a blob. `key_id` is the row's own CMK; to reencrypt,
    the one that it moves to.
    """

    __slots__ = (
        *("ciphertext", "context", "destination_context", "key_id", "plaintext"),
        *("answered", "like_uuid"),
    )

    def __init__(self, record: Record) -> None:
        self.key_id = record.key_id
        self.plaintext = _base64(record.plaintext) if record.plaintext else None
        self.ciphertext = record.ciphertext
        self.context = record.encryption_context
        self.destination_context = record.destination_context
        if record.data_key is not None:
            # Of an envelope KMS has seen the data key only.
            self.ciphertext = record.data_key
            self.context = self.destination_context = DATA_KEY_CONTEXT
            self.plaintext = None
        self.answered = _hash_of(self.plaintext)
        # A RequestId is a UUID, which may hold a plaintext such as a PIN as it is.
        text = record.plaintext.decode("latin-1").lower() if len(record.plaintext) <= 36 else ""
        self.like_uuid = text if _LIKE_UUID.fullmatch(text) else None

    def packed(self) -> PackedRow:
        """All of it, for another process of ours."""
        return (
            *(self.plaintext, self.ciphertext, self.context, self.destination_context),
            *(self.key_id, self.like_uuid),
        )

    @classmethod
    def unpacked(cls, packed: PackedRow) -> Row:
        """The row that was packed so."""
        row = cls.__new__(cls)
        row.plaintext, row.ciphertext, row.context, row.destination_context = packed[:4]
        row.key_id, row.like_uuid = packed[4:]
        # Each process makes other hashes.
        row.answered = _hash_of(row.plaintext)
        return row

    @property
    def size_bytes(self) -> int:
        """About how much memory the content takes."""
        texts = (self.plaintext, self.ciphertext, self.context, self.destination_context)
        return sum(len(text) for text in texts if text)

    def decoded(self) -> bytes:
        """The plaintext as bytes; empty if it is not known."""
        return a2b_base64(self.plaintext or "")

    def __repr__(self) -> str:
        return f"Row(key_id={self.key_id!r}, <{self.size_bytes} bytes>)"


@dataclass(slots=True)
class Rows:
    """The rows that are held, in the order of their file, and what is to be said of them."""

    rows: list[Row] = field(repr=False)
    notes: list[str]


async def read_rows(source: Source, *, most: int = MOST_ROWS, most_bytes: int = MOST_BYTES) -> Rows:
    """The first rows of a source that can be sent, up to `most` and about `most_bytes` of them.

    Raises InputError for a source that cannot be read, or without any row to send.
    """
    reading = _Reading(source.name, most, most_bytes)
    try:
        async with aclosing(cast(AsyncGenerator[Batch, None], source.batches())) as batches:
            async for batch in batches:
                if not all(reading.take(row) for row in batch):
                    break
    except InputBroken as broken:
        raise InputError(broken.message, hint=broken.hint) from None
    finally:
        await source.aclose()
    if not reading.rows:
        raise reading.nothing()
    return Rows(reading.rows, [*reading.notes(), *unseen_texts(source.unseen)])


class _Reading:
    """Takes rows until there are enough."""

    def __init__(self, name: str, most: int, most_bytes: int) -> None:
        self.rows: list[Row] = []
        self._name = name
        self._most = most
        self._left_bytes = most_bytes
        self._left_out = 0
        self._first_message = ""
        self._full = False

    def take(self, row: Record | Result) -> bool:
        """Takes one more; whether it found room."""
        if isinstance(row, Result):
            self._left_out += 1
            # What an earlier run says of its own rows is not of our making.
            if not self._first_message and not isinstance(row, EarlierResult):
                self._first_message = row.message or ""
            return True
        taken = Row(row)
        if self.rows and (len(self.rows) == self._most or taken.size_bytes > self._left_bytes):
            self._full = True
            return False
        self._left_bytes -= taken.size_bytes
        self.rows.append(taken)
        return True

    def notes(self) -> list[str]:
        """What to say of the file."""
        notes = []
        if self._full:
            notes.append(
                f"only the first {len(self.rows):,} rows of {self._name} are held and sent, again "
                "and again"
            )
        if self._left_out:
            first = f" (the first: {self._first_message})" if self._first_message else ""
            rows = "1 row" if self._left_out == 1 else f"{self._left_out:,} rows"
            notes.append(f"left out {rows} of {self._name} that cannot be sent{first}")
        return notes

    def nothing(self) -> InputError:
        """The error for a file without a row to send."""
        if not self._left_out:
            return InputError(f"{self._name} holds no rows", hint="give a file with some")
        first = f"; the first: {self._first_message}" if self._first_message else ""
        return InputError(
            f"{self._name} has no row that can be sent{first}",
            hint=f"look at its rows with: batchkms check {self._name}",
        )


def _hash_of(plaintext: str | None) -> int | None:
    """What Decrypt must answer, as a hash of it: nothing is kept that was secret."""
    return None if plaintext is None else hash(plaintext)


def _base64(plaintext: bytes) -> str:
    return b2a_base64(plaintext, newline=False).decode()
