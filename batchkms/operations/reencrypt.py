"""ReEncrypt: ciphertext in, ciphertext out. The plaintext stays in the service.

It cannot leave a region or an account. For that, `Transfer` decrypts in the one and encrypts in
the other, with the plaintext in memory only.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from batchkms.errors import KmsError
from batchkms.kms.answers import Reencrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls, Operation
from batchkms.operations.datakeys import MOST_KEYS
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from batchkms.quota import Group
from batchkms.records import Record, Result


class _Moving(Operation):
    """Moves ciphertext blobs: those of records, and the data keys of envelopes, each once."""

    name = "reencrypt"
    columns = ("source_key_id", "reencrypted", "mode", "data_key")

    def __init__(self) -> None:
        self._moved: OrderedDict[tuple[str, str | None], Reencrypted] = OrderedDict()
        self._moving = asyncio.Lock()

    @abstractmethod
    async def _move(
        self,
        calls: Calls,
        blob: str,
        key_id: str | None,
        context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        """Moves one blob under this CMK, None for its own. Raises KmsError."""

    async def do(self, record: Record, calls: Calls) -> Result:
        """Moves the ciphertext of a record. Raises KmsError."""
        moved = await self._move(
            calls,
            record.ciphertext or "",
            self.key_id(record),
            record.encryption_context,
            record.destination_context,
        )
        result = _result(record, moved)
        result.ciphertext = moved.ciphertext_blob
        result.encryption_context = record.destination_context
        return result

    def is_local(self, record: Record) -> bool:
        """Whether this record is an envelope: only its data key is moved."""
        return record.data_key is not None

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """Moves the data keys of envelopes; what they encrypt stays as it is."""
        outcomes: list[Result | KmsError] = []
        refused: dict[tuple[str, str | None], KmsError] = {}
        for record in records:
            if record.destination_context != record.encryption_context:
                outcomes.append(_bound_to_its_context())
                continue
            wanted = (record.data_key or "", self.key_id(record))
            if wanted not in self._moved and wanted not in refused:
                try:
                    await self._move_data_key(calls, wanted)
                except KmsError as error:
                    refused[wanted] = error
            moved = self._moved.get(wanted)
            outcomes.append(_envelope(record, moved) if moved else refused[wanted])
        return outcomes

    async def _move_data_key(self, calls: Calls, wanted: tuple[str, str | None]) -> None:
        async with self._moving:
            if wanted not in self._moved:
                self._moved[wanted] = await self._move(
                    calls, *wanted, DATA_KEY_CONTEXT, DATA_KEY_CONTEXT
                )
            if len(self._moved) > MOST_KEYS:
                self._moved.popitem(last=False)


class Reencrypt(_Moving):
    """Moves each record under its own CMK or `key_id`, or to the newest version of its own."""

    groups = (Group.REENCRYPT,)

    def __init__(self, kms: KmsClient, *, key_id: str | None = None) -> None:
        super().__init__()
        self._kms = kms
        self._key_id = key_id

    def key_id(self, record: Record) -> str | None:
        """The CMK that this record moves to; None for its own."""
        return record.key_id or self._key_id

    async def _move(
        self,
        calls: Calls,
        blob: str,
        key_id: str | None,
        context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        # An error may be about the CMK that the blob comes from, so that `key_id` is not told.
        return await calls.make(
            Group.REENCRYPT,
            partial(
                self._kms.reencrypt,
                blob,
                destination_key_id=key_id,
                source_context=context,
                destination_context=destination_context,
            ),
        )


class Transfer(_Moving):
    """Moves each record from one account or region to another: Decrypt there, Encrypt here."""

    groups = (Group.CRYPT, Group.SOURCE)

    def __init__(self, kms: KmsClient, *, source: KmsClient, key_id: str | None = None) -> None:
        super().__init__()
        self._kms = kms
        self._source = source
        self._key_id = key_id

    def key_id(self, record: Record) -> str:
        """The CMK that this record moves to. Raises ValueError if there is none."""
        key_id = record.key_id or self._key_id
        if key_id is None:
            raise ValueError(f"record {record.seq} names no CMK and there is no default one")
        return key_id

    async def _move(
        self,
        calls: Calls,
        blob: str,
        key_id: str | None,
        context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        decrypt = partial(self._source.decrypt, blob, encryption_context=context)
        decrypted = await calls.make(Group.SOURCE, decrypt)
        encrypt = partial(
            self._kms.encrypt,
            key_id or "",
            decrypted.plaintext,
            encryption_context=destination_context,
        )
        encrypted = await calls.make(Group.CRYPT, encrypt, key_id=key_id)
        return Reencrypted(
            encrypted.ciphertext_blob,
            encrypted.key_id,
            decrypted.key_id,
            reencrypted=True,
            request_id=encrypted.request_id,
        )


def _result(record: Record, moved: Reencrypted) -> Result:
    return Result(
        seq=record.seq,
        id=record.id,
        status="ok",
        key_id=moved.key_id,
        request_id=moved.request_id,
        attempts=0,
        source_key_id=moved.source_key_id,
        reencrypted=moved.reencrypted,
        kept=record.kept,
    )


def _envelope(record: Record, moved: Reencrypted) -> Result:
    result = _result(record, moved)
    result.ciphertext = record.ciphertext
    result.encryption_context = record.encryption_context
    result.mode = "envelope"
    result.data_key = moved.ciphertext_blob
    return result


def _bound_to_its_context() -> KmsError:
    return KmsError(
        "EnvelopeContext",
        "an envelope is bound to its encryption context and cannot take another one; decrypt it "
        "and encrypt it again for that",
    )
