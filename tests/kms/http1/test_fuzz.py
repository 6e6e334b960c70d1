"""Scenes made of random bytes: nothing hangs, no answer goes astray, nothing goes wrong unseen."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from batchkms.kms.http1.connection import Connection
from batchkms.kms.http1.pool import Pool
from tests.kms.http1 import fuzzing
from tests.kms.http1.fuzzedanswers import Finding, check_cuts
from tests.kms.http1.fuzzing import Scene

SECONDS = 1.5


def played(runner: asyncio.Runner, seed: int) -> Scene:
    data = random.Random(seed).randbytes(600)  # noqa: S311 - no secret
    scene = Scene(data)
    try:
        check_cuts(data)
        runner.run(scene.play())
    except Finding as finding:
        raise Finding(f"seed {seed}: {finding}") from finding
    return scene


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_random_scenes(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    seed, until_s = time.time_ns(), time.monotonic() + SECONDS
    scenes = answers = 0
    with asyncio.Runner(loop_factory=loop) as runner:
        while time.monotonic() < until_s or scenes < 20:
            seed, scenes = seed + 1, scenes + 1
            answers += played(runner, seed).answers
    assert answers > scenes


# -- What it would find ----------------------------------------------------------------------------


def ignore_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "eof_received", lambda connection: True)


def keep_what_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    received = Connection.data_received

    def data_received(connection: Connection, data: bytes) -> None:
        if connection.exchange is not None:
            received(connection, data)

    monkeypatch.setattr(Connection, "data_received", data_received)


def take_the_answer_before(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, last = Pool.ended, [None]

    def late(pool: Pool, connection: Connection, answer: Any, error: Any, *more: Any) -> None:
        last[0], given = answer or last[0], last[0] or answer
        ended(pool, connection, answer and given, error, *more)

    monkeypatch.setattr(Pool, "ended", late)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (ignore_the_end, "an exchange hangs"),
        (keep_what_nobody_asked_for, "an idle connection hangs"),
        (take_the_answer_before, "the answer to another request was taken"),
    ],
)
def test_defects_that_are_planted_are_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzzing, "MOST_TURNS", 20_000)
    plant(monkeypatch)
    told = ""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for seed in range(100):
            try:
                played(runner, seed)
            except Finding as finding:
                told = str(finding)
                break
    assert found in told
