"""Encrypt: plaintext in, ciphertext blob out, one call a record."""

from __future__ import annotations

from functools import partial

from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls, Operation
from batchkms.quota import Group
from batchkms.records import Record, Result


class Encrypt(Operation):
    """Encrypts each record under its own CMK, or under `key_id` where it names none."""

    name = "encrypt"
    groups: tuple[Group, ...] = (Group.CRYPT,)

    def __init__(self, kms: KmsClient, *, key_id: str | None = None) -> None:
        self._kms = kms
        self._key_id = key_id

    def key_id(self, record: Record) -> str:
        """The CMK that this record is encrypted under. Raises ValueError if there is none."""
        key_id = record.key_id or self._key_id
        if key_id is None:
            raise ValueError(f"record {record.seq} names no CMK and there is no default one")
        return key_id

    async def do(self, record: Record, calls: Calls) -> Result:
        """One call of Encrypt. Raises KmsError."""
        key_id = self.key_id(record)
        encrypt = partial(
            self._kms.encrypt,
            key_id,
            record.plaintext,
            encryption_context=record.encryption_context,
        )
        encrypted = await calls.make(Group.CRYPT, encrypt, key_id=key_id)
        return Result(
            seq=record.seq,
            id=record.id,
            status="ok",
            key_id=encrypted.key_id,
            ciphertext=encrypted.ciphertext_blob,
            encryption_context=record.encryption_context,
            request_id=encrypted.request_id,
            attempts=1,
            kept=record.kept,
        )
