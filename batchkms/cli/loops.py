"""The event loop that a command runs on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def loop_runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    """What runs a coroutine to its end, on the loop that takes the least time for a call.

    Never in debug mode: that logs what callbacks are given, and thus pieces of the input.
    """
    if sys.platform == "win32":
        return partial(asyncio.run, debug=False)
    import uvloop

    return partial(uvloop.run, debug=False)
