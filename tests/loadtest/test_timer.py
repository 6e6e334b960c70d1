"""The exact timer, on both event loops."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import pytest
import uvloop

from batchkms.loadtest.timer import LoopTimer, Timer, _TimerFd, exact_timer

MAKERS = [exact_timer, LoopTimer]


async def called_at(make: Callable[[Callable[[], None]], Timer], *times_s: float) -> list[float]:
    """How late each of these times, from now, was called back."""
    late_s: list[float] = []
    done = asyncio.get_running_loop().create_future()
    begun_s = time.monotonic()

    def back() -> None:
        late_s.append(time.monotonic() - begun_s - times_s[len(late_s)])
        if len(late_s) < len(times_s):
            timer.at(begun_s + times_s[len(late_s)])
        else:
            done.set_result(None)

    timer = make(back)
    timer.at(begun_s + times_s[0])
    async with asyncio.timeout(20):
        await done
    timer.close()
    return late_s


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("make", MAKERS)
def test_it_is_never_early(make: Callable[[Callable[[], None]], Timer], run: Callable) -> None:  # type: ignore[type-arg]  # two runners that agree on little
    late_s = run(called_at(make, *(number * 0.0013 for number in range(1, 100))))
    assert min(late_s) >= 0


@pytest.mark.parametrize("make", MAKERS)
def test_a_time_that_has_passed_is_now(make: Callable[[Callable[[], None]], Timer]) -> None:
    (late_s,) = asyncio.run(called_at(make, -5.0))
    assert late_s >= 5.0


@pytest.mark.parametrize("make", MAKERS)
async def test_a_new_time_takes_the_place_of_the_old(
    make: Callable[[Callable[[], None]], Timer],
) -> None:
    times_s: list[float] = []
    timer = make(lambda: times_s.append(time.monotonic()))
    begun_s = time.monotonic()
    timer.at(begun_s + 0.01)
    timer.at(begun_s + 0.05)
    await asyncio.sleep(0.1)
    timer.at(time.monotonic() + 0.01)
    timer.close()
    timer.close()
    await asyncio.sleep(0.05)
    assert len(times_s) == 1
    assert times_s[0] >= begun_s + 0.049


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has timerfd")
async def test_on_linux_it_is_the_systems_own() -> None:
    timer = exact_timer(lambda: None)
    assert isinstance(timer, _TimerFd)
    timer.close()
