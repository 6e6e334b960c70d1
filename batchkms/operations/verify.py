"""Verify: decrypts as Decrypt does, and compares with the plaintext that should come out."""

from __future__ import annotations

import hmac
import secrets
from hashlib import blake2b

from batchkms.kms.answers import Decrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.decrypt import Decrypt
from batchkms.records import ErrorClass, Record, Result

DIFFERS = "PlaintextDiffers"
"""The code of a row that decrypts to something else."""

OTHER_KEY = "OtherKeyId"
"""The code of a row that decrypts, though not under the CMK that it names."""

MOST_DIFFERING = 10_000
"""Of so many rows that differ is remembered what they hold, to find those that were swapped."""


class Verify(Decrypt):
    """Decrypts each record and compares it with its `plaintext`, in constant time.

    A result holds no plaintext.
    """

    name = "verify"
    columns = ()

    def __init__(self, kms: KmsClient) -> None:
        super().__init__(kms, stops=False)
        self._key = secrets.token_bytes(32)
        self._expected: dict[bytes, int] = {}
        self._found: dict[int, bytes] = {}

    def result(self, record: Record, decrypted: Decrypted) -> Result:
        """Whether it is the right plaintext."""
        result = Result(
            seq=record.seq,
            id=record.id,
            status="ok",
            key_id=decrypted.key_id,
            request_id=decrypted.request_id,
            attempts=0,
        )
        if not hmac.compare_digest(decrypted.plaintext, record.plaintext):
            result.status = "failed"
            result.error_class = ErrorClass.INVALID_RECORD
            result.code = DIFFERS
            self._remember(record, decrypted.plaintext)
        elif (record.source_key_id or "").lower() != decrypted.key_id.lower():
            result.status = "failed"
            result.error_class = ErrorClass.INVALID_RECORD
            result.code = OTHER_KEY
        return result

    def holds_row(self, seq: int) -> int | None:
        """The other row among those that differ whose plaintext this one has, if there is one."""
        found = self._found.get(seq)
        return None if found is None else self._expected.get(found)

    def _remember(self, record: Record, found: bytes) -> None:
        if len(self._found) < MOST_DIFFERING:
            self._found[record.seq] = self._digest(found)
            self._expected.setdefault(self._digest(record.plaintext), record.seq)

    def _digest(self, plaintext: bytes) -> bytes:
        # Keyed, so that it says nothing about the plaintext once this process has ended.
        return blake2b(plaintext, key=self._key, digest_size=16).digest()
