"""How much is under way in a team, and in which order it leaves."""

from __future__ import annotations

import asyncio

from batchkms.team.job import share
from batchkms.team.outbox import DealWindow, Outbox


async def _admitted(window: DealWindow, rows: int, size_bytes: int) -> bool:
    entering = asyncio.create_task(window.enter(rows, size_bytes))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if not entering.done():
        entering.cancel()
        return False
    return True


async def test_rows_and_bytes_are_bounded_until_they_are_written() -> None:
    window = DealWindow(10, 100)
    assert await _admitted(window, 6, 60)
    assert not await _admitted(window, 5, 1)
    assert not await _admitted(window, 1, 41)
    assert await _admitted(window, 4, 40)
    window.leave(4, 40)
    assert await _admitted(window, 4, 1)


async def test_a_deal_over_the_bounds_goes_alone() -> None:
    window = DealWindow(10, 100)
    assert await _admitted(window, 1, 500)
    assert not await _admitted(window, 1, 1)
    window.leave(1, 500)
    assert await _admitted(window, 50, 1)
    window.leave(50, 1)
    window.widen(5)
    assert await _admitted(window, 15, 1)


async def test_lots_come_in_the_order_of_deals_if_asked_for() -> None:
    outbox = Outbox[str](ordered=True)
    outbox.put(2, "2a", last=False)
    outbox.put(1, "1a", last=False)
    assert await outbox.take() == ["1a"]
    outbox.put(1, "1b", last=True)
    outbox.put(3, "3a", last=True)
    assert await outbox.take() == ["1b", "2a"]
    outbox.end()
    # Deal 2 never came to its end: what follows is kept all the same.
    assert await outbox.take() == ["3a"]
    assert await outbox.take() == []


async def test_lots_come_as_they_are_made_otherwise() -> None:
    outbox = Outbox[str](ordered=False)
    outbox.put(2, "2", last=True)
    outbox.put(1, "1", last=True)
    assert await outbox.take() == ["2", "1"]


def test_shares_make_up_the_whole_and_nobody_has_none() -> None:
    assert [share(64, n, 3) for n in (1, 2, 3)] == [22, 21, 21]
    assert [share(2, n, 3) for n in (1, 2, 3)] == [1, 1, 1]
