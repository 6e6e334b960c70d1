"""What an operation offers, and the Result of a record for which it failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from batchkms.errors import KmsError
from batchkms.quota import Group
from batchkms.records import Record, Result

T = TypeVar("T")


class Calls(Protocol):
    """Makes calls for one record, or for one lot of them, as the run allows it."""

    async def make(
        self, group: Group, call: Callable[[], Awaitable[T]], *, key_id: str | None = None
    ) -> T:
        """What `call` returns: made inside the group's quota and as often as the retry allows.

        `key_id` is the CMK on which the call depends, where that is known: one that cannot be
        used is remembered, and no call is made for it. Raises the KmsError of the last attempt
        when the record is given up, and RunStopped when the whole run is.
        """


class Operation(ABC):
    """One thing done to records: to each by calls of its own, or to a lot of them at once."""

    name: str
    """What it is called in a manifest and in messages."""

    groups: tuple[Group, ...]
    """The quota groups that it calls in; the run's rate is that of the first one."""

    columns: tuple[str, ...] = ()
    """The columns that its results have beyond those of every operation."""

    @abstractmethod
    async def do(self, record: Record, calls: Calls) -> Result:
        """The Result of a record that is ok.

        The engine fills in `attempts` and `latency_ms`. Raises KmsError when the record fails.
        """

    def is_local(self, record: Record) -> bool:
        """Whether this record needs no call of its own, so that it is done in a lot."""
        return False

    def same_lot(self, first: Record, other: Record) -> bool:
        """Whether two local records may be in one lot; a lot should need no more than one call."""
        return True

    async def do_lot(self, records: Sequence[Record], calls: Calls) -> list[Result | KmsError]:
        """The Results of some local records, or what each failed with, in their order."""
        raise NotImplementedError  # an operation with local records has its own

    def key_id(self, record: Record) -> str | None:
        """The CMK to name in the Result of a record that failed."""
        return record.key_id


def failed(record: Record, key_id: str | None, error: KmsError, *, attempts: int) -> Result:
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
        kept=record.kept,
    )
