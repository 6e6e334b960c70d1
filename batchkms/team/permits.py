"""Permits of the one quota that a run has, given to calls that are made in several processes.

A member asks for as many permits as calls wait there; the parent takes them from the quota and
passes them on in lots. A permit is for a call that is made now: what nobody waits for any more is
dropped, never kept, or a later call would come on top of the second that it was counted in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from batchkms.quota import Group, Quota, Quotas

MOST_TAKERS = 64
"""So many permits at a time are waited for on behalf of one member, for each kind of call."""

STALE_S = 0.008
"""So old may a permit be when a member has it; the guard of the quota of several processes
(`TEAM_GUARD_S`) is a little more than that."""

TEAM_GUARD_S = 0.009
"""See `quota.GUARD_S`. It costs 0.9% of the quota, which leaves the 99% that are promised."""

NEVER_FASTER_S = 0.5
"""When for so long every permit came late, late ones are taken."""

Ask = Callable[[Group, int, int], None]
"""Asks for permits of a group: so many for first attempts, and so many for further ones."""


class RemoteQuota(Quota):
    """What a member has in the place of a quota: permits come from its parent.

    `limited` says whether there is a limit at all: without one, nobody is asked.
    """

    def __init__(self, group: Group, *, ask: Ask, throttled: Callable[[Group], None]) -> None:
        super().__init__(None)
        self.limited = True
        self._group = group
        self._ask = ask
        self._tell_throttled = throttled
        self._first_tries: deque[asyncio.Future[None]] = deque()
        self._retries: deque[asyncio.Future[None]] = deque()
        self._unasked = [0, 0]
        self._stale_since_s: float | None = None
        self._asking: asyncio.Handle | None = None

    @property
    def unlimited(self) -> bool:
        """See `Quota`."""
        return not self.limited

    async def acquire(self, *, first: bool = False) -> None:
        """Waits for a permit; see `Quota.acquire`."""
        if not self.limited:
            return
        loop = asyncio.get_running_loop()
        permit = loop.create_future()
        (self._retries if first else self._first_tries).append(permit)
        self._unasked[first] += 1
        if self._asking is None:
            self._asking = loop.call_soon(self._ask_now)
        await permit

    def throttled(self) -> None:
        """Tells that the service throttled a call."""
        self._tell_throttled(self._group)

    def give(self, permits: int, *, age_s: float = 0.0) -> None:
        """Permits have come: to those that are tried again before all others.

        They were taken `age_s` ago. The calls of one that is too old would come on top of those
        for which others were taken since: it is dropped, and another one asked for.
        """
        if self._is_stale(age_s):
            retries = min(permits, len(self._retries))
            self._ask(self._group, permits - retries, retries)
            return
        for _ in range(permits):
            if not (_served(self._retries) or _served(self._first_tries)):
                return

    def _is_stale(self, age_s: float) -> bool:
        if age_s <= STALE_S:
            self._stale_since_s = None
            return False
        now = asyncio.get_running_loop().time()
        if self._stale_since_s is None:
            self._stale_since_s = now
        # On a machine that is never faster, late calls are better than none.
        return now - self._stale_since_s < NEVER_FASTER_S

    def limit(self, limited: bool) -> None:
        """Whether there is a limit from now on."""
        self.limited = limited
        if not limited:
            self.give(len(self._retries) + len(self._first_tries))

    async def aclose(self) -> None:
        """Whoever still waits is cancelled."""
        for permit in (*self._retries, *self._first_tries):
            permit.cancel()

    def _ask_now(self) -> None:
        self._asking = None
        first_tries, retries = self._unasked
        self._unasked = [0, 0]
        self._ask(self._group, first_tries, retries)


def _served(waiting: deque[asyncio.Future[None]]) -> bool:
    """Gives a permit to the one that waited longest, unless all have gone."""
    while waiting:
        permit = waiting.popleft()
        if not permit.done():
            permit.set_result(None)
            return True
    return False


class RemoteQuotas(Quotas):
    """The quotas of a member."""

    def __init__(
        self, groups: Sequence[Group], *, ask: Ask, throttled: Callable[[Group], None]
    ) -> None:
        super().__init__({})
        self._remote = {g: RemoteQuota(g, ask=ask, throttled=throttled) for g in groups}
        self._of.update(self._remote)

    def remote(self, group: Group) -> RemoteQuota:
        """The quota of a group, to give its permits to."""
        return self._remote[group]

    def limit(self, limited: Mapping[Group, bool]) -> None:
        """Which groups have a limit from now on."""
        for group, is_limited in limited.items():
            self._remote[group].limit(is_limited)


class Granter:
    """Takes permits from the quotas of the run on behalf of one member, and passes them on.

    What was taken in one turn of the event loop goes as one lot.
    """

    def __init__(self, quotas: Quotas, *, give: Callable[[Group, int], None]) -> None:
        self._quotas = quotas
        self._give = give
        self._wanted: dict[tuple[Group, bool], int] = {}
        self._takers: dict[tuple[Group, bool], int] = {}
        self._taken: dict[Group, int] = {}
        self._giving: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, group: Group, first_tries: int, retries: int) -> None:
        """The member waits for so many permits more."""
        for permits, first in ((first_tries, False), (retries, True)):
            if permits:
                self._want(group, permits, first=first)

    def close(self) -> None:
        """The member needs no more of them."""
        for task in self._tasks:
            task.cancel()
        if self._giving is not None:
            self._giving.cancel()

    def _want(self, group: Group, permits: int, *, first: bool) -> None:
        kind = group, first
        wanted = self._wanted[kind] = self._wanted.get(kind, 0) + permits
        takers = self._takers.get(kind, 0)
        more = max(0, min(takers + wanted, MOST_TAKERS) - takers)
        self._takers[kind] = takers + more
        for _ in range(more):
            task = asyncio.create_task(self._take(kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take(self, kind: tuple[Group, bool]) -> None:
        group, first = kind
        quota = self._quotas[group]
        try:
            while self._wanted[kind] > 0:
                self._wanted[kind] -= 1
                await quota.acquire(first=first)
                self._taken[group] = self._taken.get(group, 0) + 1
                if self._giving is None:
                    self._giving = asyncio.get_running_loop().call_soon(self._give_now)
        finally:
            self._takers[kind] -= 1

    def _give_now(self) -> None:
        self._giving = None
        taken, self._taken = self._taken, {}
        for group, permits in taken.items():
            self._give(group, permits)
