"""What the account says of the CMKs and the quota of a job. Nothing is encrypted or changed.

DescribeKeys is asked for up to 100 CMKs at a time. One key that does not exist refuses the whole
lot, which is then halved until the key stands alone; a lot that may not be seen is asked for key by
key. A call that fails is a finding like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from batchkms.errors import KmsError, ProtocolError, Scope
from batchkms.kms.client import KmsClient
from batchkms.kms.servicestatus import out_of_service, quota_of
from batchkms.quota import Quota
from batchkms.records import ErrorClass
from batchkms.retry import RetryPolicy
from batchkms.tally import OTHER_KEYS

LOT = 100
"""So many keys DescribeKeys takes at the most (KMS documentation)."""

CALLS_PER_SECOND = 10
"""Management actions have a quota of their own, 100 a second where it is told."""

KEYS_LOOKED_AT = 1_000
"""An account has 200 CMKs a region unless more were bought: beyond this, ids are no CMKs' ids."""

RETRY = RetryPolicy(max_attempts=4, deadline_s=30.0)

ENABLED = "Enabled"
ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """What the service says of one CMK, which so many `rows` name.

    `state` is the service's word (Enabled, Disabled, PendingDelete, …), None where it told
    none; `error` then says why.
    """

    key_id: str
    rows: int
    state: str | None = None
    usage: str | None = None
    error: KmsError | None = None

    @property
    def usable(self) -> bool | None:
        """Whether it can encrypt; None where that is not known.

        Who may not look at a key may still be allowed to encrypt with it.
        """
        if self.error is not None:
            refused = (ErrorClass.KEY_UNAVAILABLE, ErrorClass.INVALID_REQUEST)
            about_it = self.error.verdict.scope is not Scope.RUN
            return False if about_it and self.error.verdict.error_class in refused else None
        return self.state == ENABLED and self.usage in (None, ENCRYPT_DECRYPT)

    def told(self) -> str:
        """The finding in a few words."""
        if self.error is not None:
            return ("" if self.usable is False else "not known: ") + str(self.error)
        if self.usable or self.state != ENABLED:
            return str(self.state)
        return f"{self.state}, but its usage is {self.usage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the account says. `keys` come in the order they were given."""

    keys: tuple[KeyFinding, ...] = ()
    not_looked_at: int = 0
    """Different keys beyond the first 1,000."""
    quota: int | None = None
    """Calls a second in the region, as GetServiceStatus tells; None if it does not."""
    out_of_service: str | None = None
    """Why the account cannot use KMS at all."""
    stopped_by: KmsError | None = None
    """What ended the asking: no call could tell anything after it, nor could one of a run."""
    problems: tuple[str, ...] = ()
    """Other calls that failed and leave something unknown."""
    calls: int = 0
    """Calls that were made for all this."""

    @property
    def unusable(self) -> tuple[KeyFinding, ...]:
        """The keys that cannot encrypt."""
        return tuple(key for key in self.keys if key.usable is False)


async def look_at_account(
    kms: KmsClient,
    keys: Mapping[str, int],
    *,
    region: str,
    per_second: int = CALLS_PER_SECOND,
    retry: RetryPolicy = RETRY,
    uniform: Callable[[], float] = random.random,
) -> Account:
    """Asks for the quota and for each of the keys, which map an id to the rows that name it.

    Raises nothing for a call that fails. One that condemns all further calls (no network, wrong
    credentials) ends the asking.
    """
    quota = Quota(per_second)
    asking = _Asking(kms, quota, retry, uniform)
    try:
        status = await asking.status()
        wanted = [key_id for key_id in keys if key_id != OTHER_KEYS]
        found = await asking.about(wanted[:KEYS_LOOKED_AT])
    finally:
        await quota.aclose()
    return Account(
        keys=tuple(_finding(key_id, keys[key_id], found) for key_id in wanted[:KEYS_LOOKED_AT]),
        not_looked_at=max(0, len(wanted) - KEYS_LOOKED_AT) + (OTHER_KEYS in keys),
        quota=quota_of(status, region),
        out_of_service=out_of_service(status),
        stopped_by=asking.stopped_by,
        problems=tuple(asking.problems),
        calls=asking.calls,
    )


_Answers = dict[str, dict[str, Any] | KmsError]
"""By the key id that was asked for: its metadata, or why there is none."""


def _finding(key_id: str, rows: int, found: _Answers) -> KeyFinding:
    answer = found.get(key_id)
    if isinstance(answer, dict):
        state, usage = answer.get("KeyState"), answer.get("KeyUsage")
        if isinstance(state, str):
            usage = usage if isinstance(usage, str) else None
            return KeyFinding(key_id=key_id, rows=rows, state=state, usage=usage)
    if not isinstance(answer, KmsError):
        answer = ProtocolError("InvalidAnswer", "the answer has no KeyState")
    return KeyFinding(key_id=key_id, rows=rows, error=answer)


class _Asking:
    """Makes the calls, paced and tried again, and keeps what went wrong."""

    def __init__(
        self, kms: KmsClient, quota: Quota, retry: RetryPolicy, uniform: Callable[[], float]
    ) -> None:
        self.calls = 0
        self.problems: list[str] = []
        self.stopped_by: KmsError | None = None
        self._kms = kms
        self._quota = quota
        self._retry = retry
        self._uniform = uniform

    async def status(self) -> dict[str, Any]:
        """What GetServiceStatus answers; nothing if it fails."""
        try:
            return await self._call(self._kms.get_service_status)
        except KmsError as error:
            if not self._ended_by(error):
                self.problems.append(f"GetServiceStatus failed: {error}")
            return {}

    async def about(self, key_ids: Iterable[str]) -> _Answers:
        """What is told of each key."""
        spelled: dict[str, list[str]] = {}
        for key_id in key_ids:
            spelled.setdefault(key_id.lower(), []).append(key_id)
        # The same id in another case might be refused as a duplicate.
        found = await self._lots([first for first, *_ in spelled.values()], LOT)
        return found | await self._lots([each for _, *more in spelled.values() for each in more], 1)

    async def _lot(self, key_ids: list[str]) -> _Answers:
        if self.stopped_by is not None:
            return dict.fromkeys(key_ids, self.stopped_by)
        if len(key_ids) == 1:
            return await self._one(key_ids[0])
        try:
            told = await self._call(lambda: self._kms.describe_keys(key_ids))
        except KmsError as error:
            if self._ended_by(error):
                return dict.fromkeys(key_ids, error)
            size = 1 if _is_denial(error) else len(key_ids) // 2
            return await self._lots(key_ids, size)
        by_id = {_id_of(each): each for each in told}
        found: _Answers = {
            key_id: by_id[key_id.lower()] for key_id in key_ids if key_id.lower() in by_id
        }
        left = [key_id for key_id in key_ids if key_id not in found]
        # Those that an answer leaves out are asked for by name: they may not exist.
        return found | await self._lots(left, 1)

    async def _lots(self, key_ids: list[str], size: int) -> _Answers:
        found: _Answers = {}
        for begin in range(0, len(key_ids), size):
            found |= await self._lot(key_ids[begin : begin + size])
        return found

    async def _one(self, key_id: str) -> _Answers:
        try:
            told = await self._call(lambda: self._kms.describe_key(key_id))
        except KmsError as error:
            self._ended_by(error)
            return {key_id: error}
        if _id_of(told) != key_id.lower():
            return {key_id: ProtocolError("WrongKeyId", "the answer is of another CMK")}
        return {key_id: told}

    async def _call(self, make: Callable[[], Awaitable[_T]]) -> _T:
        """One call, as often as it takes. Raises KmsError."""
        clock = asyncio.get_running_loop().time
        began, attempts = clock(), 0
        while True:
            await self._quota.acquire(first=attempts > 0)
            attempts += 1
            self.calls += 1
            try:
                return await make()
            except KmsError as error:
                if error.verdict.error_class is ErrorClass.THROTTLED:
                    self._quota.throttled()
                delay_s = self._retry.delay_s(
                    error.verdict,
                    attempts=attempts,
                    elapsed_s=clock() - began,
                    uniform=self._uniform,
                )
                if delay_s is None:
                    raise
            await asyncio.sleep(delay_s)

    def _ended_by(self, error: KmsError) -> bool:
        """Whether no further call can do better; then none is made."""
        condemned = error.verdict.scope is Scope.RUN and not _is_denial(error)
        if condemned or error.verdict.retryable:
            self.stopped_by = error
        return self.stopped_by is not None


def _id_of(metadata: Mapping[str, Any]) -> str:
    """The id in the case in which ids are compared here."""
    return str(metadata.get("KeyId")).lower()


def _is_denial(error: KmsError) -> bool:
    """Whether this action, or this key, may not be looked at; others may well be."""
    family, _, rest = error.code.partition(".")
    return family == "UnauthorizedOperation" or rest == "UnauthorizedOperation"
