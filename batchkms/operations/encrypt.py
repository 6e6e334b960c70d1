"""Encrypt: plaintext in, ciphertext blob out, one call a record."""

from __future__ import annotations

from batchkms.kms.client import KmsClient
from batchkms.records import Record, Result


class Encrypt:
    """Encrypts each record under its own CMK, or under `key_id` where it names none."""

    name = "encrypt"

    def __init__(self, kms: KmsClient, *, key_id: str | None = None) -> None:
        self._kms = kms
        self._key_id = key_id

    def key_id(self, record: Record) -> str:
        """The CMK that this record is encrypted under. Raises ValueError if there is none."""
        key_id = record.key_id or self._key_id
        if key_id is None:
            raise ValueError(f"record {record.seq} names no CMK and there is no default one")
        return key_id

    async def attempt(self, record: Record) -> Result:
        """One call of Encrypt. Raises KmsError."""
        encrypted = await self._kms.encrypt(
            self.key_id(record), record.plaintext, encryption_context=record.encryption_context
        )
        return Result(
            seq=record.seq,
            id=record.id,
            status="ok",
            key_id=encrypted.key_id,
            ciphertext=encrypted.ciphertext_blob,
            encryption_context=record.encryption_context,
            request_id=encrypted.request_id,
            attempts=1,
        )
