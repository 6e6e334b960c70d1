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
from batchkms.operations.datakeys import OpenedKey, OpenedKeys, bad_envelope
from batchkms.operations.sealing import BadEnvelope, unseal
from batchkms.quota import Group
from batchkms.records import Record, Result


class Decrypt(Operation):
    """Decrypts each record; the service finds the CMK in the ciphertext blob."""

    name = "decrypt"
    groups: tuple[Group, ...] = (Group.CRYPT,)
    columns: tuple[str, ...] = ("plaintext", "encoding")

    def __init__(self, kms: KmsClient) -> None:
        self._kms = kms
        self._keys = OpenedKeys(kms)

    async def do(self, record: Record, calls: Calls) -> Result:
        """One call of Decrypt. Raises KmsError."""
        decrypt = partial(
            self._kms.decrypt,
            record.ciphertext or "",
            encryption_context=record.encryption_context,
        )
        key_id = self.named_key(record)
        return self.result(record, await calls.make(Group.CRYPT, decrypt, key_id=key_id))

    def named_key(self, record: Record) -> str | None:
        """The CMK that a record's ciphertext is known to be under; None where only KMS knows."""
        return None

    def is_local(self, record: Record) -> bool:
        """Whether this record is an envelope."""
        return record.data_key is not None

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """Opens envelopes, with a call for each data key that was not decrypted yet."""
        outcomes: list[Result | KmsError] = []
        refused: dict[str, KmsError] = {}
        for record in records:
            blob = record.data_key or ""
            key = self._keys.ready(blob)
            if key is None and blob not in refused:
                try:
                    key = await self._keys.opened(blob, calls)
                except KmsError as error:
                    refused[blob] = error
            outcomes.append(self._opened(record, key) if key else refused[blob])
        return outcomes

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
