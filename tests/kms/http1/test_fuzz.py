"""Scenes made of random bytes: nothing hangs, no answer goes astray, nothing goes wrong unseen."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest
import uvloop

from tests.kms.http1.fuzzing import Scene, check_cuts

SECONDS = 1.5


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_random_scenes(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    seed, until_s = time.time_ns(), time.monotonic() + SECONDS
    scenes = answers = 0
    with asyncio.Runner(loop_factory=loop) as runner:
        while time.monotonic() < until_s or scenes < 20:
            seed += 1
            data = random.Random(seed).randbytes(600)  # noqa: S311 - no secret
            scene = Scene(data)
            try:
                check_cuts(data)
                runner.run(scene.play())
            except AssertionError as finding:
                raise AssertionError(f"seed {seed}: {finding}") from finding
            scenes, answers = scenes + 1, answers + scene.answers
    assert answers > scenes
