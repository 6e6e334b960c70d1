"""Values that are made once for each key: by one call, for all who wait, and not for ever."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from batchkms.operations.once import OncePerKey
from tests.virtual_time import run_virtual


class Maker:
    """Makes values, each in a second, and knows how many are being made."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.under_way = self.most_under_way = 0
        self.fails = 0

    async def __call__(self, key: str) -> str:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(1)
        finally:
            self.under_way -= 1
        if self.fails:
            self.fails -= 1
            raise ValueError(key)
        self.made.append(key)
        return f"{key}{len(self.made)}"


def test_all_who_wait_get_one_value_and_other_keys_do_not_wait_for_it() -> None:
    async def main() -> None:
        make, once = Maker(), OncePerKey[str, str]()
        wanted = [once.get(key, partial(make, key)) for key in "aabbcaab"]
        values = await asyncio.gather(*wanted)
        assert sorted(make.made) == ["a", "b", "c"]
        assert make.most_under_way == 3
        assert len(set(values)) == 3
        assert once.ready("a") == values[0]
        assert not once._making and not once._waiting

    run_virtual(main())


def test_what_could_not_be_made_is_made_by_the_next_who_waits() -> None:
    async def main() -> None:
        make, once = Maker(), OncePerKey[str, str]()
        make.fails = 1
        wanted = [once.get("a", partial(make, "a")) for _ in range(3)]
        first, second, third = await asyncio.gather(*wanted, return_exceptions=True)
        assert isinstance(first, ValueError)
        assert second == third == "a1"

    run_virtual(main())


def test_who_is_cancelled_leaves_the_others_waiting_for_nothing() -> None:
    async def main() -> None:
        make, once = Maker(), OncePerKey[str, str]()
        first, second = (asyncio.create_task(once.get("a", partial(make, "a"))) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second == "a1"
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not once._making

    run_virtual(main())


def test_the_value_that_was_not_needed_for_longest_is_forgotten() -> None:
    async def main() -> None:
        make, once = Maker(), OncePerKey[str, str](most=2)
        for key in "abac":
            await once.get(key, partial(make, key))
        assert [once.ready(key) is not None for key in "abc"] == [True, False, True]
        assert make.made == ["a", "b", "c"]

    run_virtual(main())
