"""A comparison finds what has changed, and nothing where nothing has."""

from __future__ import annotations

import math
import random
from functools import cache

import pytest

from batchkms.loadtest.blocks import BLOCKS, MOST_WINDOWS, Blocks, correlation, mean_spread
from batchkms.loadtest.call import Call
from batchkms.loadtest.compare import Comparison, Difference, compare_tests, t_quantile
from batchkms.loadtest.runrecord import RunRecord
from tests.loadtest.samples import calls, record


@cache
def server(
    seed: int,
    *,
    slower: float = 1.0,
    errors: float = 0.01,
    alike: float = 0.6,
    count: int = 4000,
) -> Blocks:
    """A test of 20 s with a server whose speed wanders, and which fails in bursts.

    `alike` is how much each half second takes over from the one before.
    """
    chance = random.Random(seed)  # noqa: S311 - a trial must be the same each time
    blocks, level, bad, half = Blocks(), 0.0, 0.0, -1
    for number in range(count):
        due = number / 200
        if int(due * 2) != half:
            half = int(due * 2)
            level = alike * level + chance.gauss(0, 0.06)
            bad = errors * chance.choice([0, 0, 1, 3])
        latency = slower * math.exp(-5 + level + chance.gauss(0, 0.3))
        outcome = "internal" if chance.random() < bad else "ok"
        blocks.count(Call(due, due + 1e-4, due + 1e-4 + latency, "encrypt", outcome, 9))
    return blocks


def compared(a: Blocks, b: Blocks, *records: RunRecord) -> Comparison:
    return compare_tests((a, records[:1], []), (b, records[1:], []))


def _real(found: Comparison) -> list[Difference]:
    return [each for each in found.differences if each.real]


def test_two_tests_of_the_same_kind_do_not_differ() -> None:
    trials = 40
    alarms = [
        [each.name for each in _real(compared(server(seed), server(seed + 1000)))]
        for seed in range(trials)
    ]
    assert sum(map(bool, alarms)) <= 0.05 * trials, alarms


@pytest.mark.long
@pytest.mark.parametrize("alike", [0.0, 0.3, 0.6])
def test_hundreds_of_tests_of_the_same_kind_do_not_differ(alike: float) -> None:
    trials = 300
    alarms = sum(
        bool(_real(compared(server(seed, alike=alike), server(seed + 1000, alike=alike))))
        for seed in range(trials)
    )
    assert alarms <= 0.05 * trials


def test_two_halves_of_one_test_do_not_differ() -> None:
    trials, alarms = 40, 0
    for seed in range(trials):
        chance, level = random.Random(seed), 0.0  # noqa: S311 - as above
        halves = Blocks(), Blocks()
        for number in range(8000):
            due = number / 200
            if number % 100 == 0:
                level = 0.6 * level + chance.gauss(0, 0.06)
            latency = math.exp(-5 + level + chance.gauss(0, 0.3))
            half = halves[number // 4000]
            half.count(Call(due, due, due + latency, "encrypt", "ok", 9))
        alarms += bool(_real(compared(*halves)))
    assert alarms <= 0.05 * trials


def test_a_server_that_is_a_fifth_slower_is_found() -> None:
    for seed in range(6):
        usual = server(seed, count=8000)
        slow = server(seed + 1000, slower=1.2, count=8000)
        found = compared(usual, slow)
        assert found.worse
        # A latency is what got worse, from either begin.
        worse = [each.name for each in _real(found) if each.outcome == "worse"]
        assert {name.partition(" ")[2] for name in worse} == {"from schedule", "from send"}
        back = compared(slow, usual)
        assert not back.worse and "better" in {each.outcome for each in back.differences}


def test_many_more_errors_are_found_and_few_are_not() -> None:
    for seed in range(4):
        found = compared(server(seed), server(seed + 1000, errors=0.1))
        assert "internal" in {each.name for each in _real(found)}
        one = compared(server(0, errors=0.0), server(seed + 1000, errors=0.0002))
        assert "internal" not in {each.name for each in _real(one)}


def test_the_figures_are_those_of_the_calls() -> None:
    found = compared(server(1), server(2))
    figures = {each.name: each for each in found.differences}
    assert figures["ok per second"].a == pytest.approx(198, abs=3)
    latencies = []
    again, level, half = random.Random(1), 0.0, -1  # noqa: S311 - as above
    for number in range(4000):
        if int(number / 100) != half:
            half = int(number / 100)
            level = 0.6 * level + again.gauss(0, 0.06)
            again.choice([0, 0, 1, 3])
        latencies.append(math.exp(-5 + level + again.gauss(0, 0.3)))
        again.random()
    latencies.sort()
    assert figures["p50 from send"].a == pytest.approx(latencies[1999] * 1000, rel=0.002)
    assert figures["p99 from send"].a == pytest.approx(latencies[3959] * 1000, rel=0.002)
    for each in figures.values():
        assert each.low <= each.b - each.a <= each.high


def test_a_difference_below_a_hundredth_is_none() -> None:
    def exact(latency: float) -> Blocks:
        blocks = Blocks()
        for number in range(2000):
            blocks.count(Call(number / 100, number / 100, number / 100 + latency, "e", "ok", 9))
        return blocks

    assert not _real(compared(exact(0.01), exact(0.01005)))
    found = {each.name for each in _real(compared(exact(0.01), exact(0.0103)))}
    assert found >= {"p50 from schedule", "p90 from schedule", "p50 from send", "p90 from send"}


def test_too_little_data_is_said() -> None:
    few = Blocks()
    for call in calls(20):
        few.count(call)
    one = Blocks()
    one.count(next(calls(1)))
    assert {each.outcome for each in compared(one, few).differences} == {"too little data"}
    found = compared(few, server(1))
    assert {each.outcome for each in found.differences} == {"too little data"}
    assert compared(Blocks(), Blocks()).differences == []


def test_what_makes_tests_hard_to_compare_is_warned_of() -> None:
    one = record(invalid=["It lagged."])
    other = record(state="aborted", settings={"rate": 100, "duration": "20s"}, target_rate=90.0)
    warnings = compared(server(1), server(2), one, other).warnings
    for part in (
        *("A is invalid", "B was aborted", "target rate differs: 100.0 in A, 90.0 in B"),
        *("duration differs: 10s in A, 20s in B", "max-connections differs: 64 in A, not set in B"),
    ):
        assert [each for each in warnings if part in each], part
    assert compared(server(1), server(2), record(), record()).warnings == []
    emulated = [
        record(
            endpoint=f"http://127.0.0.1:{port}", settings={"emulator": True, "report": f"{port}"}
        )
        for port in (1, 2)
    ]
    assert compared(server(1), server(2), *emulated).warnings == []
    assert len(compared(server(1), server(2)).warnings) == 2


def test_a_long_test_has_no_more_windows_than_a_short_one() -> None:
    blocks = Blocks()
    for number in range(20_000):
        blocks.count(Call(number * 5.0, None, number * 5.0 + 0.01, "e", "ok", 9))
    assert blocks.window_s * MOST_WINDOWS > 100_000
    cells = blocks.cells()
    assert len(cells) == BLOCKS and sum(cell.calls for cell in cells) == 20_000
    assert min(cell.calls for cell in cells) > 400
    assert all(rate == pytest.approx(0.2, rel=0.02) for rate in blocks.rates())


@pytest.mark.parametrize(
    ("share", "freedom", "known"),
    # Tables of Student's t: Abramowitz and Stegun, 26.10.
    [(0.975, 7, 2.365), (0.995, 7, 3.499), (0.975, 29, 2.045), (0.9995, 20, 3.850)],
)
def test_quantiles_of_student_are_those_of_the_tables(
    share: float, freedom: int, known: float
) -> None:
    assert t_quantile(share, freedom) == pytest.approx(known, rel=0.005)


def test_neighbors_that_are_alike_make_the_noise_larger() -> None:
    assert correlation([1.0, -1.0] * 10) == correlation([0.0, 0.0]) == 0.0
    assert correlation([1.0] * 10 + [-1.0] * 10) == 0.9
    apart, together = mean_spread([1.0, -1.0] * 10), mean_spread([1.0] * 10 + [-1.0] * 10)
    assert together.error > 4 * apart.error
