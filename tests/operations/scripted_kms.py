"""A KMS in memory that answers from a script, on virtual time, and keeps count of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

from batchkms.engine import Engine, EngineOptions
from batchkms.errors import ServiceError
from batchkms.kms.answers import DataKey, Decrypted, Encrypted, Reencrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Operation
from batchkms.quota import Quotas
from batchkms.retry import RetryPolicy
from tests.scripted import OK, now_s

Answers = Callable[[str, int], str]
"""What the n-th call for a CMK or blob comes to, counted from 0: OK or an error code."""


class ScriptedKms(KmsClient):
    """Makes real data keys. `calls` holds action, and CMK or blob, of each call."""

    def __init__(
        self, answers: Answers = lambda about, number: OK, *, took_s: float = 0.02
    ) -> None:
        self._answers = answers
        self._took_s = took_s
        self._blobs: dict[str, tuple[bytes, str, str | None]] = {}
        self.calls: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.most_under_way: dict[str, int] = {}
        self._under_way: dict[str, int] = {}

    async def generate_data_key(
        self, key_id: str, *, encryption_context: str | None = None
    ) -> DataKey:
        async with self._answering("GenerateDataKey", key_id):
            plaintext = sha256(f"{key_id} {len(self._blobs)}".encode()).digest()
            return DataKey(plaintext, self.blob(plaintext, key_id, encryption_context), key_id, "r")

    async def encrypt(
        self, key_id: str, plaintext: bytes, *, encryption_context: str | None = None
    ) -> Encrypted:
        async with self._answering("Encrypt", key_id):
            return Encrypted(self.blob(plaintext, key_id, encryption_context), key_id, "r")

    async def decrypt(
        self, ciphertext_blob: str, *, encryption_context: str | None = None
    ) -> Decrypted:
        async with self._answering("Decrypt", ciphertext_blob):
            plaintext, key_id = self._opened(ciphertext_blob, encryption_context)
            return Decrypted(plaintext, key_id, "r")

    async def reencrypt(
        self,
        ciphertext_blob: str,
        *,
        destination_key_id: str | None = None,
        source_context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        async with self._answering("ReEncrypt", ciphertext_blob):
            plaintext, source = self._opened(ciphertext_blob, source_context)
            key_id = destination_key_id or source
            blob = self.blob(plaintext, key_id, destination_context)
            return Reencrypted(blob, key_id, source, True, "r")

    def blob(self, plaintext: bytes, key_id: str, context: str | None) -> str:
        """A new blob of this plaintext."""
        name = f"{key_id}-k-{len(self._blobs)}"
        self._blobs[name] = (plaintext, key_id, context)
        return name

    def data_keys(self, key_id: str | None = None) -> int:
        """How many calls of GenerateDataKey were made, for a CMK or for all."""
        return sum(
            action == "GenerateDataKey" and key_id in (None, about) for action, about in self.calls
        )

    def _opened(self, blob: str, context: str | None) -> tuple[bytes, str]:
        plaintext, key_id, bound = self._blobs.get(blob, (b"", "", "no such blob"))
        if bound != context:
            raise ServiceError("InvalidParameterValue.InvalidCiphertext", "m", request_id="r")
        return plaintext, key_id

    @asynccontextmanager
    async def _answering(self, action: str, about: str) -> AsyncIterator[None]:
        outcome = self._answers(about, self.calls.count((action, about)))
        self.calls.append((action, about))
        self.times.append(now_s())
        self._under_way[action] = self._under_way.get(action, 0) + 1
        most = self.most_under_way.get(action, 0)
        self.most_under_way[action] = max(most, self._under_way[action])
        try:
            await asyncio.sleep(self._took_s)
            if outcome != OK:
                raise ServiceError(outcome, "it is said why", request_id="r")
            yield
        finally:
            self._under_way[action] -= 1


def engine_of(
    operation: Operation,
    *,
    per_second: int | None = None,
    retry: RetryPolicy | None = None,
    options: EngineOptions | None = None,
) -> Engine:
    """An engine for an operation on a scripted KMS, whose jitter is known."""
    return Engine(
        operation,
        quotas=Quotas(dict.fromkeys(operation.groups, per_second)),
        retry=retry,
        options=options,
        uniform=lambda: 0.5,
    )
