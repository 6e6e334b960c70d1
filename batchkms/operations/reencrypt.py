"""ReEncrypt: ciphertext in, ciphertext out. The plaintext stays in the service.

It cannot leave a region or an account. For that, `Transfer` decrypts in the one and encrypts in
the other, with the plaintext in memory only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

from batchkms.errors import KmsError
from batchkms.kms.answers import Reencrypted
from batchkms.kms.client import KmsClient
from batchkms.operations.base import Calls, Operation
from batchkms.operations.keyhealth import KeyHealth
from batchkms.operations.once import OncePerKey
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from batchkms.quota import Group
from batchkms.records import Record, Result


class _Moving(Operation):
    """Moves ciphertext blobs: those of records, and the data keys of envelopes, each once."""

    name = "reencrypt"
    columns = ("source_key_id", "reencrypted", "mode", "data_key")

    def __init__(self) -> None:
        self._moved: OncePerKey[tuple[str, str | None], Reencrypted] = OncePerKey()
        self._health = KeyHealth()

    @abstractmethod
    async def _move(
        self,
        calls: Calls,
        record: Record,
        blob: str,
        context: str | None,
        destination_context: str | None,
    ) -> Reencrypted:
        """Moves one blob of a record under the CMK that the record moves to. Raises KmsError."""

    async def do(self, record: Record, calls: Calls) -> Result:
        """Moves the ciphertext of a record. Raises KmsError."""
        moved = await self._move(
            calls,
            record,
            record.ciphertext or "",
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

    def same_lot(self, first: Record, other: Record) -> bool:
        """Whether both have one data key, which moves to one CMK."""
        return (first.data_key, self.key_id(first)) == (other.data_key, self.key_id(other))

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """Moves the data key of some envelopes; what it encrypts stays as it is."""
        if all(record.destination_context != record.encryption_context for record in records):
            return [_bound_to_its_context() for _ in records]
        first, blob = records[0], records[0].data_key or ""
        move = partial(self._move, calls, first, blob, DATA_KEY_CONTEXT, DATA_KEY_CONTEXT)
        try:
            moved = await self._moved.get((blob, self.key_id(first)), move)
        except KmsError as error:
            return [error] * len(records)
        return [
            _envelope(record, moved)
            if record.destination_context == record.encryption_context
            else _bound_to_its_context()
            for record in records
        ]


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
        record: Record,
        blob: str,
        context: str | None,
        destination_context: str | None,
    ) -> Reencrypted:
        reencrypt = partial(
            self._kms.reencrypt,
            blob,
            destination_key_id=self.key_id(record),
            source_context=context,
            destination_context=destination_context,
        )
        # An error may be about the CMK that the blob comes from as well as about the other one.
        make = partial(calls.make, Group.REENCRYPT, reencrypt)
        return await self._health.call(record.source_key_id, make)


class Transfer(_Moving):
    """Moves each record from one account or region to another: Decrypt there, Encrypt here."""

    groups: tuple[Group, ...] = (Group.CRYPT, Group.SOURCE)

    def __init__(
        self,
        kms: KmsClient,
        *,
        source: KmsClient,
        key_id: str | None = None,
        one_quota: bool = False,
    ) -> None:
        """`one_quota` says that both are one account's in one region, so that calls add up."""
        super().__init__()
        self._source_group = Group.CRYPT if one_quota else Group.SOURCE
        if one_quota:
            self.groups = (Group.CRYPT,)
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
        record: Record,
        blob: str,
        context: str | None,
        destination_context: str | None,
    ) -> Reencrypted:
        decrypt = partial(self._source.decrypt, blob, encryption_context=context)
        make = partial(calls.make, self._source_group, decrypt)
        decrypted = await self._health.call(record.source_key_id, make)
        key_id = self.key_id(record)
        encrypt = partial(
            self._kms.encrypt,
            key_id,
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
