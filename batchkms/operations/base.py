"""What an operation offers, and the Result of a record for which it failed."""

from __future__ import annotations

from typing import Protocol

from batchkms.errors import KmsError
from batchkms.records import Record, Result


class Operation(Protocol):
    """One thing done to a record, one attempt at a time."""

    @property
    def name(self) -> str:
        """What it is called in a manifest and in messages."""

    def key_id(self, record: Record) -> str:
        """The CMK that this record is done with."""

    async def attempt(self, record: Record) -> Result:
        """Does it once.

        The engine fills in `attempts` and `latency_ms`. Raises KmsError, whose verdict says
        whether another attempt can help.
        """


def failed(record: Record, key_id: str, error: KmsError, *, attempts: int) -> Result:
    """The Result of a record that is given up for this error.

    The message is kept as it is: what it may repeat of the record is scrubbed before.
    """
    return Result(
        seq=record.seq,
        id=record.id,
        status="failed",
        key_id=key_id,
        encryption_context=record.encryption_context,
        error_class=error.verdict.error_class,
        code=error.code,
        message=error.message or None,
        request_id=error.request_id,
        attempts=attempts,
    )
