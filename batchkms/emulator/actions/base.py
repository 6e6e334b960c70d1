"""What an action is: a name, a quota group, a table of parameters and a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from batchkms.emulator.keyring import KeyRing
from batchkms.emulator.parameters import ParameterTable
from batchkms.emulator.randomness import Randomness

SYMMETRIC_GROUP = "symmetric"
"""Encrypt and Decrypt share one quota (documentation 573/131380)."""

MANAGEMENT_PER_SECOND = 100
"""The quota of every management action whose page gives one; each action has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What actions work with: one account's keys in one region.

    `rate_limit` is the quota of Encrypt and Decrypt in calls a second, None for no limit.
    """

    keys: KeyRing
    rate_limit: int | None

    @property
    def region(self) -> str:
        """The region that is served."""
        return self.keys.region

    @property
    def randomness(self) -> Randomness:
        """What every id, key and nonce is drawn from."""
        return self.keys.randomness

    async def reset(self) -> None:
        """Returns keys and randomness to where they were before the first call."""
        await self.keys.reset()


Handler = Callable[[Office, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of the API.

    `handle` gets parameters that are known, present where required, of the right type and
    within their limits. It returns the fields of the answer without RequestId, and raises
    ApiError.
    """

    name: str
    parameters: ParameterTable
    handle: Handler
    group: str = ""

    @property
    def quota_group(self) -> str:
        """The group whose quota a call counts against: by default the action's own."""
        return self.group or self.name
