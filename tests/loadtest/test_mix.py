"""Mixes of actions: how they are written, and that each action gets its share, evenly."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import BadValue
from batchkms.loadtest.mix import ACTIONS, ordered, parse_mix, written_mix

MIXES = st.dictionaries(
    st.sampled_from(sorted(ACTIONS)), st.integers(1, 40), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        ("encrypt", {"encrypt": 1}),
        ("encrypt=9,decrypt=1", {"encrypt": 9, "decrypt": 1}),
        (" reencrypt = 2 , generate-data-key", {"reencrypt": 2, "generate-data-key": 1}),
        ({"encrypt": 3, "decrypt": 1}, {"encrypt": 3, "decrypt": 1}),
    ],
)
def test_mixes_that_can_be_read(value: Any, weights: dict[str, int]) -> None:
    assert parse_mix(value) == weights


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("encrpt", "the nearest is encrypt"),
        ("ReEncrypt=1", "the nearest is reencrypt"),
        ("GenerateDataKey", "the nearest is generate-data-key"),
        ("encrypt,encrypt=2", "encrypt twice"),
        ("encrypt=0", "weights from 1 to 10,000, not 0"),
        ("encrypt=10001", "not 10,001"),
        *((bad, "takes actions") for bad in ("", "encrypt,", "=1", "encrypt=", "encrypt=-1")),
        *((bad, "takes actions") for bad in ("encrypt=0.5", "encrypt=1=2", "encrypt=\u0661")),
        (7, "takes actions"),
        (None, "takes actions"),
        ([], "takes actions"),
        ({}, "takes actions"),
        ({"encrypt": "x"}, "takes actions"),
        ({"encrypt": 1.5}, "takes actions"),
    ],
)
def test_mixes_that_cannot(value: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        parse_mix(value)


@given(MIXES)
def test_a_mix_is_written_as_it_is_read(mix: dict[str, int]) -> None:
    read = parse_mix(written_mix(mix))
    assert read == (mix if len(mix) > 1 else dict.fromkeys(mix, 1))


@given(mix=MIXES, seed=st.integers(0, 2**64))
def test_each_action_has_its_share_at_any_time(mix: dict[str, int], seed: int) -> None:
    total = sum(mix.values())
    calls = list(islice(ordered(mix, seed=seed), 3 * total))
    counted: Counter[str] = Counter()
    for number, action in enumerate(calls, start=1):
        counted[action] += 1
        for name, weight in mix.items():
            assert abs(counted[name] - number * weight / total) <= len(mix)
    assert counted == {name: 3 * weight for name, weight in mix.items()}


def test_the_order_is_that_of_the_seed() -> None:
    mix = parse_mix("encrypt=7,decrypt=2,reencrypt=1")
    orders = [tuple(islice(ordered(mix, seed=seed), 50)) for seed in range(20)]
    assert orders == [tuple(islice(ordered(mix, seed=seed), 50)) for seed in range(20)]
    assert len(set(orders)) > 5


def test_a_rare_action_comes_regularly() -> None:
    calls = list(islice(ordered(parse_mix("encrypt=9,decrypt=1"), seed=3), 1_000))
    at = [number for number, action in enumerate(calls) if action == "decrypt"]
    assert {after - before for before, after in zip(at, at[1:], strict=False)} == {10}
