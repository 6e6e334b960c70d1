"""What is held against the generator, and what is not: by numbers, and on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from batchkms.loadtest.generator import Generator, Lateness
from tests.virtual_time import run_virtual


class Clocks:
    """Clocks that are set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.cpu_s = 0.0


def generator(lateness: Lateness | None = None, **options: Any) -> tuple[Generator, Clocks]:
    clocks = Clocks()
    made = Generator(
        lateness or Lateness(),
        clock=lambda: clocks.now_s,
        cpu_clock=lambda: clocks.cpu_s,
        **options,
    )
    return made, clocks


def late(of: int, number: int, seconds: float) -> Lateness:
    lateness = Lateness()
    for each in range(of):
        lateness.count(seconds if each < number else 0.0001)
    return lateness


@pytest.mark.parametrize(
    ("number", "seconds", "valid"),
    [(0, 0.0, True), (10, 0.5, True), (11, 0.5, False), (900, 0.009, True), (900, 0.011, False)],
)
def test_more_than_one_late_call_in_a_hundred_is_a_fault(
    number: int, seconds: float, valid: bool
) -> None:
    made, _ = generator(late(1_000, number, seconds))
    assert (made.faults(closed=False) == []) is valid
    assert made.record().late == pytest.approx(number / 1_000 if seconds > 0.01 else 0)


def test_what_counts_as_late_can_be_said() -> None:
    lateness = late(1_000, 500, 0.015)
    assert generator(lateness, limit_s=0.02)[0].faults(closed=False) == []
    (fault,) = generator(lateness, limit_s=0.002)[0].faults(closed=False)
    assert "50.0% of the calls more than 2 ms late" in fault
    assert generator(lateness, share=0.6)[0].faults(closed=False) == []


def test_time_that_was_blocked_is_told_and_is_no_fault() -> None:
    lateness = late(1_000, 0, 0.0)
    lateness.blocked(4.25, 0.5)
    made, _ = generator(lateness)
    assert made.faults(closed=False) == []
    assert any("for 4.2 s calls were due" in note for note in made.notes())


@pytest.mark.parametrize(("cpu_s", "valid"), [(0.5, True), (2.6, True), (2.8, False)])
def test_a_generator_that_is_busy_while_calls_wait_is_what_they_wait_for(
    cpu_s: float, valid: bool
) -> None:
    async def run() -> list[str]:
        made, clocks = generator(late(1_000, 0, 0.0))
        made.begin()
        clocks.now_s += 60
        made.lateness.blocked(3.0, cpu_s)
        made.end()
        return made.faults(closed=False)

    faults = asyncio.run(run())
    assert (faults == []) is valid
    if not valid:
        assert "in which the generator took 93% of a core" in faults[0]


def test_a_single_stop_is_a_note() -> None:
    made, _ = generator(late(10_000, 3, 0.8))
    assert made.faults(closed=False) == []
    assert any("800 ms at the worst" in note for note in made.notes())


def test_a_core_that_is_used_up_is_a_fault_in_the_closed_model_only() -> None:
    async def run(cpu_s: float, closed: bool) -> list[str]:
        made, clocks = generator(late(10, 0, 0))
        made.begin()
        clocks.now_s += 10
        clocks.cpu_s += cpu_s
        made.end()
        return made.faults(closed=closed)

    assert asyncio.run(run(9.0, True)) == []
    (fault,) = asyncio.run(run(9.8, True))
    assert "98% of a core" in fault
    assert asyncio.run(run(9.8, False)) == []


def test_the_lag_of_the_loop_is_seen_for_as_long_as_it_lasts() -> None:
    async def run() -> Generator:
        loop = asyncio.get_running_loop()
        made = Generator(Lateness(), clock=loop.time, cpu_clock=lambda: 0.0)
        made.begin()
        await asyncio.sleep(5)
        # The loop stands still for a second.
        loop._jumping.now_s += 1.0  # type: ignore[attr-defined]  # a loop of the tests
        await asyncio.sleep(4)
        made.end()
        return made

    made = run_virtual(run())
    record = made.record()
    assert record.lag_max_ms == pytest.approx(1_000, abs=15)
    # A tenth of the ten seconds: of a thousand probes a hundred, most of them for long.
    assert made.lag.total == pytest.approx(1_000, abs=5)
    assert made.lag.share_over(0.01) == pytest.approx(0.1, abs=0.005)
    assert record.lag_p99_ms == pytest.approx(900, abs=20)
    assert "lagged" in made.faults(closed=False)[0]


def test_a_quiet_loop_has_no_lag() -> None:
    async def run() -> Generator:
        made = Generator(Lateness(), clock=asyncio.get_running_loop().time)
        made.begin()
        await asyncio.sleep(60)
        made.end()
        return made

    made = run_virtual(run())
    assert made.lag.total == pytest.approx(6_000, abs=10)
    assert made.lag.max_ms < 0.1
    assert made.faults(closed=False) == []
