"""What several processes make together is what one would make."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.loadtest.mix import ordered, parse_mix
from batchkms.loadtest.payload import parse_payload_size, random_plaintexts
from batchkms.loadtest.share import WHOLE, Share

processes = st.integers(1, 9)


@given(st.integers(0, 500), processes)
def test_shares_of_a_number_make_the_whole(whole: int, of: int) -> None:
    parts = [Share(first, of).of_number(whole) for first in range(of)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


@given(st.lists(st.integers(), max_size=30, unique=True), processes)
def test_every_thing_is_there_as_often_as_any_other(things: list[int], of: int) -> None:
    shares = [Share(first, of).of_round(things) for first in range(of)]
    # Each goes round its own: after as many turns of all there is each as often.
    turns = len(things) * of
    made = Counter(
        chain.from_iterable(
            islice(chain.from_iterable([share] * (1 + turns)), turns) for share in shares if share
        )
    )
    assert set(made) == set(things)
    assert len(set(made.values())) <= 1


def test_turn_by_turn_the_order_is_that_of_one() -> None:
    things = list(range(7))
    shares = [islice(chain.from_iterable([Share(n, 3).of_round(things)] * 9), 21) for n in range(3)]
    together = list(chain.from_iterable(zip(*shares, strict=True)))
    assert together == things * 9


@pytest.mark.parametrize("size", ["64", "6-40", "8:1,32:3"])
def test_no_plaintext_is_made_by_two(size: str) -> None:
    sizes = parse_payload_size(size)
    made = [
        text
        for first in range(4)
        for text in islice(random_plaintexts(sizes, seed=3, share=Share(first, 4)), 500)
    ]
    assert len(set(made)) == 2_000
    assert list(islice(random_plaintexts(sizes, seed=3, share=Share(2, 4)), 500)) == made[1000:1500]


def test_of_one_size_they_are_those_of_one_process_in_turn() -> None:
    size = parse_payload_size("64")
    shares = [islice(random_plaintexts(size, seed=9, share=Share(n, 3)), 40) for n in range(3)]
    together = list(chain.from_iterable(zip(*shares, strict=True)))
    assert together == list(islice(random_plaintexts(size, seed=9, share=WHOLE), 120))


@given(st.integers(0, 10_000), processes)
def test_each_has_the_whole_mix(seed: int, of: int) -> None:
    mix = parse_mix("encrypt=3,generate-data-key=1")
    for first in range(of):
        calls = Counter(islice(ordered(mix, seed=seed, share=Share(first, of)), 40))
        assert calls == {"encrypt": 30, "generate-data-key": 10}
