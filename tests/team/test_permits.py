"""One quota for several processes: exact in every sliding second, whoever waits where."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from batchkms.quota import GUARD_S, Group, Quotas
from batchkms.team.permits import STALE_S, Granter, RemoteQuotas
from tests.test_quota import most_in_a_sliding_second
from tests.virtual_time import run_virtual

GROUP = Group.CRYPT


class _Member:
    """A member's quotas and its parent's granter, with messages that take their time."""

    def __init__(self, quotas: Quotas, *, delay: random.Random) -> None:
        self._delay = delay
        self._clock = [0.0, 0.0]
        self.remote = RemoteQuotas([GROUP], ask=self._ask, throttled=lambda group: None)
        self.granter = Granter(quotas, give=self._give)
        self.quota = self.remote[GROUP]

    def _ask(self, group: Group, first_tries: int, retries: int) -> None:
        self._later(0, lambda: self.granter.want(group, first_tries, retries))

    def _give(self, group: Group, permits: int) -> None:
        self._later(1, lambda: self.remote.remote(group).give(permits))

    def _later(self, way: int, call: Callable[[], object]) -> None:
        # In order, as over a socket, and each less late than the guard allows for.
        loop = asyncio.get_running_loop()
        due = loop.time() + self._delay.uniform(0.0, 0.9 * GUARD_S)
        self._clock[way] = max(self._clock[way], due)
        loop.call_at(self._clock[way], call)


async def _steady(per_second: int, seconds: float, members: int, workers: int) -> list[float]:
    quotas = Quotas({GROUP: per_second})
    delay = random.Random(7)  # noqa: S311 - delays, not secrets
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def work(member: _Member) -> None:
        while True:
            await member.quota.acquire()
            times.append(loop.time())

    team = [_Member(quotas, delay=delay) for _ in range(members)]
    tasks = [asyncio.create_task(work(member)) for member in team for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for member in team:
        member.granter.close()
        await member.remote.aclose()
    await quotas.aclose()
    return sorted(times)


@pytest.mark.parametrize(("per_second", "members"), [(2, 3), (300, 2), (300, 8), (3_000, 4)])
def test_together_they_get_the_quota_and_never_more(per_second: int, members: int) -> None:
    seconds = 60.0 if per_second < 100 else 5.0
    times = run_virtual(_steady(per_second, seconds, members, workers=32))
    assert most_in_a_sliding_second(times) <= per_second
    assert len(times) >= 0.98 * per_second * (seconds - 0.1)


def test_a_permit_that_nobody_waits_for_is_not_kept() -> None:
    async def main() -> tuple[int, int]:
        quotas = Quotas({GROUP: 10})
        member = _Member(quotas, delay=random.Random(1))  # noqa: S311 - as above
        waiting = [asyncio.create_task(member.quota.acquire()) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.sleep(3.0)
        # Ten came for nobody, seconds ago: a burst now gets what any second has.
        now = [asyncio.create_task(member.quota.acquire()) for _ in range(40)]
        await asyncio.sleep(1.0)
        done = sum(task.done() for task in now)
        await asyncio.sleep(5.0)
        later = sum(task.done() for task in now)
        await quotas.aclose()
        return done, later

    done, later = run_virtual(main())
    assert done <= 11
    assert later == 40


def test_further_tries_go_first() -> None:
    async def main() -> list[str]:
        quotas = Quotas({GROUP: 10})
        member = _Member(quotas, delay=random.Random(1))  # noqa: S311 - as above
        order: list[str] = []

        async def one(name: str, *, first: bool) -> None:
            await member.quota.acquire(first=first)
            order.append(name)

        tasks = [asyncio.create_task(one("new", first=False)) for _ in range(30)]
        await asyncio.sleep(0.5)
        tasks.append(asyncio.create_task(one("again", first=True)))
        await asyncio.gather(*tasks)
        await quotas.aclose()
        return order

    order = run_virtual(main())
    assert order.index("again") < 10


def test_without_a_limit_nobody_is_asked_and_those_that_wait_go_on() -> None:
    async def main() -> int:
        asked: list[int] = []
        remote = RemoteQuotas([GROUP], ask=lambda g, n, r: asked.append(n), throttled=print)
        waiting = asyncio.create_task(remote[GROUP].acquire())
        await asyncio.sleep(0.1)
        remote.limit({GROUP: False})
        await waiting
        await remote[GROUP].acquire()
        return sum(asked)

    assert run_virtual(main()) == 1


async def test_a_permit_that_comes_late_is_dropped_and_asked_for_anew() -> None:
    asked: list[tuple[int, int]] = []
    quotas = RemoteQuotas(
        [GROUP],
        ask=lambda group, first, again: asked.append((first, again)),
        throttled=lambda group: None,
    )
    quota = quotas.remote(GROUP)
    calls = [asyncio.create_task(quota.acquire(first=first)) for first in (False, True)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    quota.give(2, age_s=2 * STALE_S)
    await asyncio.sleep(0)
    assert asked == [(1, 1), (1, 1)]
    assert not any(call.done() for call in calls)
    quota.give(2, age_s=STALE_S / 2)
    await asyncio.gather(*calls)


def test_where_permits_are_always_late_they_are_taken_in_the_end() -> None:
    async def main() -> int:
        quotas = RemoteQuotas([GROUP], ask=lambda *wanted: None, throttled=lambda group: None)
        quota = quotas.remote(GROUP)
        call = asyncio.create_task(quota.acquire())
        times = 0
        while not call.done():
            await asyncio.sleep(0.1)
            times += 1
            quota.give(1, age_s=1.0)
            await asyncio.sleep(0)
        return times

    assert run_virtual(main()) == 6
