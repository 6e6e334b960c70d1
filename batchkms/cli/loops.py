"""The event loop that a job runs on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from batchkms.job import JobSpec

T = TypeVar("T")

UVLOOP_ABOVE_RATE = 2_000
"""uvloop is twice as fast, but spins where a wait is shorter than a millisecond; at low rates
asyncio's own loop takes half the CPU time."""


def loop_runner(spec: JobSpec) -> Callable[[Coroutine[Any, Any, T]], T]:
    """What runs a coroutine to its end, on the loop that is best at the job's rate."""
    # What `auto` will find is not known yet: a large quota needs uvloop more than a small one
    # needs to do without.
    fast = not isinstance(spec.rate, int) or spec.rate > UVLOOP_ABOVE_RATE
    # Never in debug mode: that logs what callbacks are given, and thus pieces of the input.
    return fast_runner() if fast else partial(asyncio.run, debug=False)


def fast_runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    """What runs a coroutine on the loop that takes the least time for a call."""
    if sys.platform == "win32":
        return partial(asyncio.run, debug=False)
    import uvloop

    return partial(uvloop.run, debug=False)
