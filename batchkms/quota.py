"""How fast calls may go: pacing per quota group, exact in every sliding second.

Two parts, each doing what the other cannot. A leaky bucket (aiolimiter) smooths: calls are
spread over the second instead of coming in bursts. A ring of the last Q permit times holds
the window: permit i is given no earlier than one second and a small guard after permit i-Q,
so that no sliding second ever holds more than Q. What a late timer lost is caught up out of
the bucket as far as the ring allows.

One task stands at the limiter, not every worker: each wait there costs timers and wake-ups.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum


class Group(StrEnum):
    """Calls that share a quota of the account (KMS documentation, "performance data")."""

    CRYPT = "crypt"
    """Encrypt and Decrypt. Whether they share one quota is unknown; that they do is assumed."""
    REENCRYPT = "reencrypt"
    DATA_KEY = "data_key"
    """GenerateDataKey."""
    SOURCE = "source"
    """Encrypt and Decrypt of another account or region, where ciphertexts come from."""


DEFAULT_PER_SECOND: Mapping[Group, int] = {
    Group.CRYPT: 300,
    Group.REENCRYPT: 100,
    Group.DATA_KEY: 100,
    Group.SOURCE: 300,
}
"""The quota of an account that has bought none, in calls per second."""

WINDOW_S = 1.0

GUARD_S = 0.006
"""Added to the window, so that a call that travelled faster than the one a second before it
does not arrive inside that one's second. It costs 0.6% of the quota."""

COLD_S = 0.05
"""How much later than later ones the calls of the first second may arrive, which open connections
and load what answers are read with: the second one begins later by so much. It is lost once."""

LOTS_PER_SECOND = 60
"""Above this rate permits are given several at a time, at 300 calls/s five every 17 ms: what a
paced run takes is mostly to be woken up, and calls that go together are answered together."""

RECOVERY_PER_S = 0.01
"""The share of the quota that the pace regains each second after a throttled answer."""


class PermitRing:
    """The times of the last Q permits. Pure: time is passed in, in seconds."""

    def __init__(
        self, per_second: int, *, guard_s: float = GUARD_S, before: PermitRing | None = None
    ) -> None:
        past = before.latest() if before is not None else []
        self._times = [-math.inf] * max(0, per_second - len(past)) + past[-per_second:]
        self._next = 0
        self._period_s = WINDOW_S + guard_s

    def latest(self) -> list[float]:
        """The times that it holds, oldest first."""
        return self._times[self._next :] + self._times[: self._next]

    def ready_at(self) -> float:
        """When the next permit may be given."""
        return self._times[self._next] + self._period_s

    def ready(self, most: int, now: float) -> int:
        """How many permits may be given now, of `most` that are asked for."""
        times, first, period_s = self._times, self._next, self._period_s
        number, most = 0, min(most, len(times))
        while number < most and times[(first + number) % len(times)] + period_s <= now:
            number += 1
        return number

    def give(self, permits: int, now: float) -> None:
        """Records that so many permits were given."""
        times = self._times
        for _ in range(permits):
            cold = times[self._next] == -math.inf
            times[self._next] = now + COLD_S if cold else now
            self._next = (self._next + 1) % len(times)


class Pace:
    """The rate aimed at: the quota, lowered by throttled answers. Pure: time is passed in.

    Each throttled answer takes two calls a second off (at most half of the pace), so that a
    single one, which jitter alone can cause, costs next to nothing, while a quota that others
    use up is left to them within about a second. The pace comes back by 1% of the quota each
    second.
    """

    def __init__(self, per_second: float) -> None:
        self.quota = per_second
        self._value = per_second
        self._since = 0.0

    def at(self, now: float) -> float:
        """The pace now, in permits per second."""
        if self._value >= self.quota:
            return self.quota
        return min(self.quota, self._value + RECOVERY_PER_S * self.quota * (now - self._since))

    def throttled(self, now: float) -> None:
        """A call was answered with a throttling error."""
        pace = self.at(now)
        floor = min(1.0, self.quota / 2)
        self._value = max(pace - 2, pace / 2, floor)
        self._since = now


class Quota:
    """Gives permits for calls of one quota group: `await quota.acquire()` before each call.

    `per_second` is the quota to keep to, None for no limit. A permit is given to whoever
    waited longest, those that are tried again before all others. A waiter that is cancelled takes
    no permit.
    """

    def __init__(self, per_second: int | None, *, guard_s: float = GUARD_S) -> None:
        self._guard_s = guard_s
        self.per_second: int | None = None
        self._ring: PermitRing | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._again: deque[asyncio.Future[None]] = deque()
        """Those that are tried again, before all others."""
        self._server: asyncio.Task[None] | None = None
        self.change(per_second)

    def change(self, per_second: int | None) -> None:
        """Keeps to another quota from now on.

        Permits that were given in the last second count for it: when it is lowered, none is
        given before the second's number is down to the new one.
        """
        if per_second is not None and per_second < 1:
            raise ValueError("a quota is at least 1 call per second")
        if per_second is not None:
            # It looks its own version up, which takes longer than to start without a limit.
            from aiolimiter import AsyncLimiter

            self._lot = max(1, per_second // LOTS_PER_SECOND)
            self._ring = PermitRing(per_second, guard_s=self._guard_s, before=self._ring)
            self._pace = Pace(per_second)
            self._capacity = 2.0 * self._lot
            # The bucket leaks a little faster than the ring turns: it shapes the first second,
            # whose pattern the ring then repeats, and only one of the two ever has to wait.
            self._bucket = AsyncLimiter(self._capacity, self._capacity / per_second)
        else:
            self._ring = None
        self.per_second = per_second
        while self.per_second is None and self._drop_cancelled():
            self._hand_out()

    @property
    def unlimited(self) -> bool:
        """Whether nobody has to wait for a permit."""
        return self.per_second is None

    def pace(self) -> float | None:
        """The rate aimed at now, in calls per second; None without a limit."""
        if self.per_second is None:
            return None
        return self._pace.at(asyncio.get_running_loop().time())

    async def acquire(self, *, first: bool = False) -> None:
        """Waits for a permit, before all others if `first`.

        A record that is tried again goes first: its deadline runs, and at a low rate the
        queue of those that have not begun yet may be longer than that.
        """
        if self.per_second is None:
            return
        permit = asyncio.get_running_loop().create_future()
        (self._again if first else self._waiting).append(permit)
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve(), name="batchkms-quota")
        await permit

    def throttled(self) -> None:
        """Tells that the service throttled a call: the pace goes down at once."""
        if self.per_second is not None:
            self._pace.throttled(asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Ends the task that gives permits; whoever still waits is cancelled."""
        for permit in (*self._again, *self._waiting):
            permit.cancel()
        if self._server is not None:
            self._server.cancel()
            with suppress(asyncio.CancelledError):
                await self._server

    async def _serve(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._drop_cancelled() and self.per_second is not None:
            left = min(self._lot, len(self._again) + len(self._waiting))
            await self._smooth(left * self._pace.quota / self._pace.at(clock()))
            # The quota may be changed while this waits, so that the ring is asked for anew.
            while left and (ring := self._ring) is not None:
                now = clock()
                if ready := ring.ready(left, now):
                    # Those that were given together come back together: a lot that waited for
                    # its last permit would be late by more of them with every second.
                    ring.give(ready, now)
                    left -= ready
                    for _ in range(ready):
                        self._hand_out()
                    continue
                # uvloop keeps time in whole milliseconds and spins on anything shorter.
                await asyncio.sleep(math.ceil((ring.ready_at() - now) * 1000) / 1000)
            for _ in range(left):
                self._hand_out()

    async def _smooth(self, cost: float) -> None:
        # A lowered pace makes each permit cost more of the bucket, possibly more than it holds.
        while cost > 0:
            part = min(cost, self._capacity)
            await self._bucket.acquire(part)
            cost -= part

    def _drop_cancelled(self) -> bool:
        for waiting in (self._again, self._waiting):
            while waiting and waiting[0].done():
                waiting.popleft()
        return bool(self._again or self._waiting)

    def _hand_out(self) -> None:
        if self._drop_cancelled():
            (self._again or self._waiting).popleft().set_result(None)


class Quotas:
    """The quotas of one run: one for each group that its operation calls in."""

    def __init__(self, per_second: Mapping[Group, int | None], *, guard_s: float = GUARD_S) -> None:
        self._of = {group: Quota(rate, guard_s=guard_s) for group, rate in per_second.items()}

    def __getitem__(self, group: Group) -> Quota:
        return self._of[group]

    def __iter__(self) -> Iterator[Group]:
        return iter(self._of)

    def change(self, per_second: Mapping[Group, int | None]) -> None:
        """Keeps to other quotas from now on. See `Quota.change`."""
        for group, number in per_second.items():
            self._of[group].change(number)

    async def aclose(self) -> None:
        """Ends every task that gives permits."""
        for quota in self._of.values():
            await quota.aclose()


def per_second(groups: Sequence[Group], rate: int | None) -> dict[Group, int | None]:
    """The quotas of an operation whose first group is to keep to `rate` (None: no limit at all).

    A group beside it keeps to what every account has, and to no more than `rate`, except the
    other account's, which has the same rate.
    """
    main, *others = groups
    quotas: dict[Group, int | None] = {main: rate}
    for group in others:
        least = rate if group is Group.SOURCE else DEFAULT_PER_SECOND[group]
        quotas[group] = None if rate is None or least is None else min(least, rate)
    return quotas
