"""Verify: decrypts as Decrypt does, and compares with the plaintext that should come out."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from hashlib import blake2b

from batchkms.errors import KmsError, Scope
from batchkms.kms.answers import Decrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls
from batchkms.operations.datakeys import MOST_KEYS
from batchkms.operations.decrypt import Decrypt
from batchkms.records import ErrorClass, Record, Result

DIFFERS = "PlaintextDiffers"
"""The code of a row that decrypts to something else."""

MOST_DIFFERING = 10_000
"""Of so many rows that differ is remembered what they hold, to find those that were swapped."""

REFUSALS = 20
"""After so many rows under a CMK that was refused, and none that was decrypted, it is the CMK."""


class Verify(Decrypt):
    """Decrypts each record and compares it with its `plaintext`, in constant time.

    A result holds no plaintext. `key_id` of a record is the CMK that its ciphertext is said to be
    under: once that was refused for some rows and has decrypted none, no further call is made.
    """

    name = "verify"
    columns = ()

    def __init__(self, kms: KmsClient) -> None:
        super().__init__(kms)
        self._key = secrets.token_bytes(32)
        self._expected: dict[bytes, int] = {}
        self._found: dict[int, bytes] = {}
        self._refusals: Counter[str] = Counter()
        self._usable: set[str] = set()

    async def do(self, record: Record, calls: Calls) -> Result:
        """One call of Decrypt. Raises KmsError."""
        key_id = record.key_id or ""
        try:
            result = await super().do(record, calls)
        except KmsError as error:
            if error.verdict.scope is Scope.KEY and len(self._refusals) < MOST_KEYS:
                self._refusals[key_id] += 1
            raise
        if len(self._usable) < MOST_KEYS:
            self._usable.add(key_id)
        return result

    def named_key(self, record: Record) -> str | None:
        """The CMK that the record names, once that is known to be unusable."""
        key_id = record.key_id or ""
        # A damaged ciphertext may name a CMK that does not exist: that says nothing of others.
        refused = self._refusals.get(key_id, 0) >= REFUSALS
        return key_id if refused and key_id not in self._usable else None

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
