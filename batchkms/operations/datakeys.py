"""Data keys: made by KMS, used for some rows, and opened again. Plaintext keys stay in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from batchkms.errors import KmsError
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from batchkms.quota import Group

MOST_KEYS = 10_000
"""So many data keys are held at once; one that is needed again later costs another call."""


class SealingKey:
    """A data key in use: how much it may still encrypt."""

    __slots__ = ("blob", "bytes_left", "cipher", "key_id", "rows_left")

    def __init__(self, plaintext: bytes, blob: str, key_id: str, *, rows: int, size: int) -> None:
        self.cipher = AESGCM(plaintext)
        self.blob = blob
        self.key_id = key_id
        self.rows_left = rows
        self.bytes_left = size

    def takes(self, size_bytes: int) -> bool:
        """Counts a row of this size, if the key may still encrypt it."""
        if self.rows_left <= 0 or self.bytes_left < size_bytes:
            return False
        self.rows_left -= 1
        self.bytes_left -= size_bytes
        return True


class SealingKeys:
    """The data key in use of each CMK; a fresh one after `rows` rows or `size_bytes` bytes."""

    def __init__(self, kms: KmsClient, *, rows: int, size_bytes: int) -> None:
        self._kms = kms
        self._rows = rows
        self._size_bytes = size_bytes
        self._in_use: OrderedDict[str, SealingKey] = OrderedDict()
        # One call at a time: whoever waits uses the key that it makes.
        self._making = asyncio.Lock()

    def ready(self, key_id: str, size_bytes: int) -> SealingKey | None:
        """A key under this CMK that has taken a row of this size, if there is one."""
        key = self._in_use.get(key_id)
        if key is None or not key.takes(size_bytes):
            return None
        self._in_use.move_to_end(key_id)
        return key

    async def fresh(self, key_id: str, size_bytes: int, calls: Calls) -> SealingKey:
        """The same, made by GenerateDataKey unless there is one by now. Raises KmsError."""
        async with self._making:
            if key := self.ready(key_id, size_bytes):
                return key
            generate = partial(
                self._kms.generate_data_key, key_id, encryption_context=DATA_KEY_CONTEXT
            )
            made = await calls.make(Group.DATA_KEY, generate, key_id=key_id)
            key = SealingKey(
                made.plaintext,
                made.ciphertext_blob,
                made.key_id,
                rows=self._rows,
                size=max(self._size_bytes, size_bytes),
            )
            key.takes(size_bytes)
            self._in_use[key_id] = key
            self._in_use.move_to_end(key_id)
            if len(self._in_use) > MOST_KEYS:
                self._in_use.popitem(last=False)
            return key


class OpenedKey:
    """A data key that KMS has decrypted, and under which CMK it was."""

    __slots__ = ("cipher", "key_id", "request_id")

    def __init__(self, plaintext: bytes, key_id: str, request_id: str) -> None:
        self.cipher = AESGCM(plaintext)
        self.key_id = key_id
        self.request_id = request_id


async def opened_key(kms: KmsClient, blob: str, calls: Calls) -> OpenedKey:
    """The data key of this blob, by Decrypt. Raises KmsError, also for what is no AES-256 key."""
    decrypt = partial(kms.decrypt, blob, encryption_context=DATA_KEY_CONTEXT)
    answer = await calls.make(Group.CRYPT, decrypt)
    if len(answer.plaintext) != 32:
        raise bad_envelope("its data_key is no data key of 256 bits")
    return OpenedKey(answer.plaintext, answer.key_id, answer.request_id)


def bad_envelope(reason: str) -> KmsError:
    """What a row failed with whose envelope does not open."""
    return KmsError("InvalidEnvelope", reason)
