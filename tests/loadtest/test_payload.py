"""Sizes of payloads, and the random plaintexts that have them."""

from __future__ import annotations

import base64
from collections import Counter
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import BadValue
from batchkms.loadtest.payload import parse_payload_size, random_plaintexts

SIZES = st.integers(1, 4_096)
RANGES = st.tuples(SIZES, SIZES).map(sorted)


def decoded(size: str, count: int, *, seed: int = 1) -> list[bytes]:
    """The first plaintexts of a size. Each must be strict and canonical base64."""
    texts = list(islice(random_plaintexts(parse_payload_size(size), seed=seed), count))
    plaintexts = [base64.b64decode(text, validate=True) for text in texts]
    assert [base64.b64encode(plaintext).decode() for plaintext in plaintexts] == texts
    return plaintexts


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("64", ((64, 64, 1),)),
        (64, ((64, 64, 1),)),
        ("1KiB", ((1024, 1024, 1),)),
        ("16-4096", ((16, 4096, 1),)),
        ("1-4KiB", ((1, 4096, 1),)),
        ("64:50, 1024:30, 4KiB:20", ((64, 64, 50), (1024, 1024, 30), (4096, 4096, 20))),
        ("1-10:3,20:1", ((1, 10, 3), (20, 20, 1))),
    ],
)
def test_sizes_that_can_be_read(value: Any, ranges: object) -> None:
    assert parse_payload_size(value).ranges == ranges


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((bad, "takes bytes") for bad in ("", "x", "1.5", "-1", "1-", "-", "1-2-3", "64:")),
        *(
            (bad, "takes bytes")
            for bad in ("1MiB", "1kib", "64B", "64:x", "64:1,", "\u0661", "1 x")
        ),
        *((bad, "takes bytes") for bad in (None, True, 1.5, [64])),
        ("0", "sizes from 1 to 4,096 bytes, not 0"),
        ("4097", "not 4,097"),
        ("5KiB", "not 5,120"),
        ("1-9999", "not 9,999"),
        ("20-10", "write 10-20"),
        ("64:0", "weights from 1"),
        ("64:10001", "not 10,001"),
        ("64:50,1024", "a weight with each"),
    ],
)
def test_sizes_that_cannot(value: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        parse_payload_size(value)


@given(RANGES, st.integers(0, 2**64))
def test_plaintexts_are_of_the_size_asked_for(ends: list[int], seed: int) -> None:
    least, most = ends
    sizes = {len(each) for each in decoded(f"{least}-{most}", 30, seed=seed)}
    assert min(sizes) >= least
    assert max(sizes) <= most


@given(st.text("0123456789-:,KiB ", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        size = parse_payload_size(text)
    except BadValue:
        return
    assert all(1 <= least <= most <= 4_096 for least, most, _ in size.ranges)
    assert parse_payload_size(size.text) == size


@given(
    st.lists(
        st.tuples(SIZES, st.integers(1, 100)), min_size=2, max_size=4, unique_by=lambda p: p[0]
    )
)
def test_sizes_come_as_often_as_they_weigh(weighted: list[tuple[int, int]]) -> None:
    size = parse_payload_size(",".join(f"{each}:{weight}" for each, weight in weighted))
    counted = Counter(len(text) for text in islice(random_plaintexts(size, seed=5), 2_000))
    total = sum(weight for _, weight in weighted)
    expected: Counter[int] = Counter()
    for each, weight in weighted:
        expected[-(-each // 3) * 4] += 2_000 * weight // total
    for length, number in expected.items():
        # Five standard deviations at the most.
        assert abs(counted[length] - number) < 115


def test_every_size_of_a_range_is_as_likely() -> None:
    counted = Counter(len(each) for each in decoded("10-13", 4_000))
    assert set(counted) == {10, 11, 12, 13}
    assert all(850 < number < 1_150 for number in counted.values())
    assert parse_payload_size("10-13").mean_bytes == 11.5


@pytest.mark.parametrize("size", ["6", "7", "64", "4096"])
def test_no_plaintext_comes_twice(size: str) -> None:
    assert len(set(decoded(size, 5_000))) == 5_000


@pytest.mark.parametrize(("size", "different"), [("1", 256), ("2", 65_536)])
def test_short_ones_come_again_only_after_all(size: str, different: int) -> None:
    assert len(set(decoded(size, different))) == different


def test_the_seed_makes_them() -> None:
    assert decoded("1-200", 50, seed=3) == decoded("1-200", 50, seed=3)
    assert decoded("64", 50, seed=3) != decoded("64", 50, seed=4)
