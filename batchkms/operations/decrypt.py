"""Decrypt: ciphertext in, plaintext out, one call a record, or one for all rows of a data key."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import Literal

from batchkms.errors import KmsError
from batchkms.kms.answers import Decrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls, Operation
from batchkms.operations.datakeys import OpenedKey, bad_envelope, opened_key
from batchkms.operations.keyhealth import KeyHealth
from batchkms.operations.once import OncePerKey
from batchkms.operations.sealing import BadEnvelope, unseal
from batchkms.quota import Group
from batchkms.records import Record, Result


class Decrypt(Operation):
    """Decrypts each record; the service finds the CMK in the ciphertext blob."""

    name = "decrypt"
    groups: tuple[Group, ...] = (Group.CRYPT,)
    columns: tuple[str, ...] = ("plaintext", "encoding")

    def __init__(self, kms: KmsClient, *, stops: bool = True) -> None:
        """With `stops`, a run in which every CMK is refused is stopped."""
        self._kms = kms
        self._keys: OncePerKey[str, OpenedKey] = OncePerKey()
        self._health = KeyHealth(stops=stops)

    def key_id(self, record: Record) -> str | None:
        """The CMK that the record names as its own."""
        return record.source_key_id

    async def do(self, record: Record, calls: Calls) -> Result:
        """One call of Decrypt. Raises KmsError."""
        decrypt = partial(
            self._kms.decrypt,
            record.ciphertext or "",
            encryption_context=record.encryption_context,
        )
        make = partial(calls.make, Group.CRYPT, decrypt)
        return self.result(record, await self._health.call(record.source_key_id, make))

    def is_local(self, record: Record) -> bool:
        """Whether this record is an envelope."""
        return record.data_key is not None

    def same_lot(self, first: Record, other: Record) -> bool:
        """Whether one data key opens both."""
        return first.data_key == other.data_key

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """Opens envelopes of one data key, with a call if it was not decrypted yet."""
        blob = records[0].data_key or ""
        key = self._keys.ready(blob)
        if key is None:
            make = partial(opened_key, self._kms, blob, calls)
            try:
                key = await self._keys.get(
                    blob, partial(self._health.call, records[0].source_key_id, make)
                )
            except KmsError as error:
                return [error] * len(records)
        return [self._opened(record, key) for record in records]

    def _opened(self, record: Record, key: OpenedKey) -> Result | KmsError:
        try:
            plaintext = unseal(
                key.cipher, record.ciphertext or "", record.id, record.encryption_context
            )
        except BadEnvelope as error:
            return bad_envelope(str(error))
        return self.result(record, Decrypted(plaintext, key.key_id, key.request_id))

    def result(self, record: Record, decrypted: Decrypted) -> Result:
        """What becomes of a record whose plaintext is known."""
        text, encoding = _written(decrypted.plaintext)
        return Result(
            seq=record.seq,
            id=record.id,
            status="ok",
            key_id=decrypted.key_id,
            encryption_context=record.encryption_context,
            request_id=decrypted.request_id,
            attempts=0,
            plaintext=text,
            encoding=encoding,
            kept=record.kept,
        )


def _written(plaintext: bytes) -> tuple[str, Literal["utf8", "base64"]]:
    """A plaintext as text: as it is where it is valid UTF-8, else in base64."""
    try:
        return plaintext.decode(), "utf8"
    except UnicodeDecodeError:
        return b64encode(plaintext).decode(), "base64"
