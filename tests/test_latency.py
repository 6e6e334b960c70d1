"""Latencies: the same figures as HdrHistogram's, whatever is counted, and no loss in merging."""

from __future__ import annotations

import math

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.latency import (
    LONGEST_US,
    Latencies,
    SparseLatencies,
    bucket_of,
    highest_of,
    lowest_of,
)

POINTS = [1.0, 50.0, 90.0, 99.0, 99.9, 100.0]

values_us = st.one_of(st.integers(1, 5_000), st.integers(1, 20_000_000), st.integers(1, LONGEST_US))
many_us = st.lists(values_us, min_size=1, max_size=80)


def _counted(values: list[int]) -> Latencies:
    made = Latencies()
    for value in values:
        made.count(value / 1_000_000)
    return made


@settings(max_examples=25, deadline=None)
@given(many_us)
def test_percentiles_are_those_of_hdr_histogram(values: list[int]) -> None:
    judge = HdrHistogram(1, LONGEST_US, 3)
    for value in values:
        judge.record_value(value)
    ours = _counted(values)
    for point, ours_ms in zip(POINTS, ours.percentiles_ms(POINTS), strict=True):
        # HdrHistogram rounds how many values are below a percentile, we round it up.
        below = math.ceil(point * len(values) / 100 - 1e-9)
        theirs = judge.get_value_at_percentile(min(100.0, (below / len(values)) * 100))
        assert ours_ms * 1000 == pytest.approx(min(theirs, max(values)), abs=0.5)


@settings(max_examples=25, deadline=None)
@given(many_us)
def test_percentiles_are_within_a_thousandth_of_the_sorted_values(values: list[int]) -> None:
    ours, ordered = _counted(values), sorted(values)
    for point, ours_ms in zip(POINTS, ours.percentiles_ms(POINTS), strict=True):
        exact = ordered[max(1, math.ceil(point * len(values) / 100 - 1e-9)) - 1]
        assert exact <= ours_ms * 1000 + 0.5
        assert ours_ms * 1000 <= exact * 1.001 + 0.5
    assert ours.max_us == ordered[-1]
    assert ours.mean_ms == pytest.approx(sum(values) / len(values) / 1000)


@settings(max_examples=25, deadline=None)
@given(many_us)
def test_percentiles_rise_and_never_pass_the_largest_value(values: list[int]) -> None:
    ours = _counted(values)
    measured = ours.percentiles_ms([0.001, *POINTS])
    assert measured == sorted(measured)
    assert measured[-1] == ours.max_ms


@settings(max_examples=20, deadline=None)
@given(many_us, many_us)
def test_merging_loses_nothing(one: list[int], other: list[int]) -> None:
    merged, whole = _counted(one).add(_counted(other)), _counted(one + other)
    assert list(merged.buckets()) == list(whole.buckets())
    assert (merged.total, merged.sum_us, merged.max_us) == (whole.total, whole.sum_us, whole.max_us)
    assert merged.percentiles_ms(POINTS) == whole.percentiles_ms(POINTS)


@settings(max_examples=20, deadline=None)
@given(many_us)
def test_as_an_hdr_histogram_it_has_the_same_counts(values: list[int]) -> None:
    theirs = HdrHistogram(1, LONGEST_US, 3)
    for value in values:
        theirs.record_value(value)
    made = _counted(values).histogram()
    assert made.get_total_count() == len(values)
    for value in values:
        assert made.get_count_at_value(value) == theirs.get_count_at_value(value)


@pytest.mark.parametrize("bits", [8, 11])
@given(value=values_us)
def test_a_value_is_in_the_bounds_of_its_bucket(bits: int, value: int) -> None:
    bucket = bucket_of(value, bits)
    assert lowest_of(bucket, bits) <= value <= highest_of(bucket, bits)
    assert highest_of(bucket, bits) - lowest_of(bucket, bits) <= value / 2 ** (bits - 1)
    assert highest_of(bucket, bits) + 1 == lowest_of(bucket + 1, bits)


def test_what_is_out_of_range_counts_at_its_end() -> None:
    latencies = Latencies()
    latencies.count(-1.0)
    latencies.count(2 * LONGEST_US / 1_000_000)
    assert (latencies.total, latencies.max_us) == (2, LONGEST_US)
    assert latencies.percentiles_ms([50, 100]) == [0.0, LONGEST_US / 1000]


def test_nothing_counted_is_zero() -> None:
    latencies = Latencies()
    assert latencies.percentile_ms(99) == latencies.mean_ms == latencies.max_ms == 0.0
    assert latencies.share_over(1) == 0.0
    assert SparseLatencies().percentile_ms(99) == 0.0


def test_a_share_of_a_round_number_is_not_one_too_many() -> None:
    # 99.9% of 1,000 is the 999th, which floating point would make the 1,000th.
    latencies = _counted([1_000] * 999 + [2_000_000])
    assert latencies.percentile_ms(99.9) == 1.0
    assert latencies.percentile_ms(99.91) == 2_000.0


def test_the_share_over_a_time() -> None:
    latencies = _counted([1_000] * 90 + [3_000_000] * 10)
    assert latencies.share_over(1.0) == 0.1
    assert latencies.share_over(5.0) == 0.0


@settings(max_examples=20, deadline=None)
@given(many_us, many_us)
def test_sparse_ones_are_within_a_hundredth_and_merge_without_loss(
    one: list[int], other: list[int]
) -> None:
    parts = []
    for values in (one, other, one + other):
        part = SparseLatencies()
        for value in values:
            part.count(value / 1_000_000)
        parts.append(part)
    merged, whole = parts[0].add(parts[1]), parts[2]
    assert (merged.counts, merged.total, merged.max_us) == (whole.counts, whole.total, whole.max_us)
    ordered = sorted(one + other)
    exact = ordered[max(1, math.ceil(0.9 * len(ordered) - 1e-9)) - 1]
    assert exact - 0.5 <= whole.percentile_ms(90) * 1000 <= exact * 1.01 + 0.5


@given(st.lists(st.integers(0, LONGEST_US), max_size=200), st.sets(st.integers(0, 199)))
def test_packing_changes_nothing(values_us: list[int], packed_at: set[int]) -> None:
    loose, packed = SparseLatencies(), SparseLatencies()
    for number, value_us in enumerate(values_us):
        if number in packed_at:
            packed.pack()
            assert packed.packed
        loose.count_us(value_us)
        packed.count_us(value_us)
        assert not packed.packed
    packed.pack()
    assert packed.counts == loose.counts
    assert (packed.total, packed.max_us) == (loose.total, loose.max_us)
    for point in (0, 50, 99, 100):
        assert packed.percentile_ms(point) == loose.percentile_ms(point)
    packed.add(loose)
    assert packed.total == 2 * len(values_us)
    assert sum(packed.counts.values()) == packed.total


@pytest.mark.parametrize("most", [1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32])
def test_packing_keeps_large_counts(most: int) -> None:
    latencies = SparseLatencies()
    latencies.count_buckets({5: 1, 9: most}, max_us=9)
    latencies.pack()
    assert latencies.counts == {5: 1, 9: most}
    latencies.count_us(9)
    assert latencies.counts == {5: 1, 9: most + 1}


def test_packing_nothing() -> None:
    latencies = SparseLatencies()
    latencies.pack()
    assert (latencies.counts, latencies.percentile_ms(50)) == ({}, 0.0)
