"""Envelope encryption: rows are encrypted here, with data keys that KMS makes and wraps.

For plaintexts that are too long for Encrypt, or for all of them where the quota is too small for
one call a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchkms.errors import KmsError
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls
from batchkms.operations.datakeys import SealingKey, SealingKeys
from batchkms.operations.encrypt import Encrypt
from batchkms.operations.sealing import nonces, seal
from batchkms.quota import Group
from batchkms.records import MAX_PLAINTEXT_BYTES, Record, Result


class Envelope(Encrypt):
    """Encrypts records with data keys: all of them, or with `only_oversize` those over 4,096 bytes.

    The CMK of a record is the one that Encrypt would use. A data key encrypts at most
    `data_key_rows` records and `data_key_bytes` bytes of them.
    """

    groups = (Group.CRYPT, Group.DATA_KEY)
    columns = ("mode", "data_key")

    def __init__(
        self,
        kms: KmsClient,
        *,
        key_id: str | None = None,
        only_oversize: bool = False,
        data_key_rows: int = 10_000,
        data_key_bytes: int = 1024**3,
    ) -> None:
        super().__init__(kms, key_id=key_id)
        self._longest_direct = MAX_PLAINTEXT_BYTES if only_oversize else -1
        self._keys = SealingKeys(kms, rows=data_key_rows, size_bytes=data_key_bytes)

    def is_local(self, record: Record) -> bool:
        """Whether this record is encrypted here."""
        return len(record.plaintext) > self._longest_direct

    def same_lot(self, first: Record, other: Record) -> bool:
        """Whether both are encrypted under one CMK."""
        return self.key_id(first) == self.key_id(other)

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """Encrypts records under one CMK, with a call where a fresh data key is needed."""
        key_id, outcomes = self.key_id(records[0]), list[Result | KmsError]()
        for record, nonce in zip(records, nonces(len(records)), strict=True):
            size_bytes = len(record.plaintext)
            key = self._keys.ready(key_id, size_bytes)
            if key is None:
                try:
                    key = await self._keys.fresh(key_id, size_bytes, calls)
                except KmsError as error:
                    # Asking again for each row of the lot would cost their deadline each time.
                    return outcomes + [error] * (len(records) - len(outcomes))
            outcomes.append(_sealed(record, key, nonce))
        return outcomes


def _sealed(record: Record, key: SealingKey, nonce: bytes) -> Result:
    context = record.encryption_context
    return Result(
        seq=record.seq,
        id=record.id,
        status="ok",
        key_id=key.key_id,
        ciphertext=seal(key.cipher, nonce, record.plaintext, record.id, context),
        encryption_context=context,
        attempts=0,
        mode="envelope",
        data_key=key.blob,
        kept=record.kept,
    )
