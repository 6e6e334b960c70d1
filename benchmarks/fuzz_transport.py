"""The parser and the pool of the wire transport under whatever a server may send, for minutes.

    python -m benchmarks.fuzz_transport [MINUTES] [--seed N]      # default: 10

Answers are cut at every byte, and scenes of `tests.kms.http1.fuzzing` are played, on asyncio's loop
and on uvloop by turns: bytes decide all that happens in one. With atheris (pip install atheris;
CPython 3.11 to 3.13) they grow towards code that was not reached yet, otherwise they are random.
The first finding ends it, with the bytes that show it again:

    python -m benchmarks.fuzz_transport --again FILE
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import uvloop

from tests.kms.http1.fuzzedanswers import check_cuts
from tests.kms.http1.fuzzing import Scene

SCENE_BYTES = 1_000
CUT_EVERY = 300
TELL_EVERY_S = 30.0
_INSTRUMENTED = ("connection", "dialing", "exchange", "pool", "reading")


class Player:
    """Plays scenes, and counts."""

    def __init__(self) -> None:
        self._loops = [asyncio.Runner(loop_factory=new) for new in _LOOPS]
        self._began_s = self._told_s = time.monotonic()
        self._cut = self._scenes = self._exchanges = self._answers = 0

    def play(self, data: bytes) -> None:
        """One scene. Raises AssertionError, and leaves the bytes behind."""
        scene = Scene(data[1:])
        try:
            for at in range(0, len(data), CUT_EVERY):
                check_cuts(data[at:])
            self._loops[(data[0] if data else 0) % 2].run(scene.play())
        except BaseException:
            path = Path(tempfile.gettempdir(), f"scene-{time.time_ns()}")
            path.write_bytes(data)
            self.tell()
            print(f"found by the bytes in {path}", file=sys.stderr, flush=True)
            raise
        self._scenes += 1
        self._cut += -(-len(data) // CUT_EVERY)
        self._exchanges += scene.exchanges
        self._answers += scene.answers
        if time.monotonic() - self._told_s > TELL_EVERY_S:
            self.tell()

    def play_until(self, until_s: float, data: bytes) -> None:
        """One scene, and the end of the process when the time is over: libFuzzer cannot be left."""
        self.play(data)
        if time.monotonic() > until_s:
            self.tell()
            os._exit(0)

    def tell(self) -> None:
        """Says what was done so far."""
        self._told_s = time.monotonic()
        print(
            f"{self._told_s - self._began_s:.0f} s: {self._scenes:,} scenes, {self._exchanges:,} "
            f"exchanges, {self._answers:,} answers taken, {self._cut:,} answers cut at every byte",
            flush=True,
        )


_LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


def _guided(folder: str, seconds: float, seed: int) -> None:
    """Never returns; the folder is full of scenes afterwards."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it may be missing, and has no types

    for name in _INSTRUMENTED:
        module = sys.modules[f"batchkms.kms.http1.{name}"]
        for thing in vars(module).values():
            if isinstance(thing, type) and thing.__module__ == module.__name__:
                _instrument(thing, atheris.instrument_func)
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(200):
        Path(folder, str(number)).write_bytes(chance.randbytes(SCENE_BYTES))
    options = [f"-max_len={SCENE_BYTES}", f"-seed={seed}", "-len_control=0", "-verbosity=0"]
    options.append(f"-artifact_prefix={tempfile.gettempdir()}/")
    play = partial(Player().play_until, time.monotonic() + seconds)
    atheris.Setup([sys.argv[0], *options, folder], play)
    atheris.Fuzz()


def _instrument(thing: type, instrumented: object) -> None:
    for name, value in list(vars(thing).items()):
        if callable(value) and hasattr(value, "__code__"):
            setattr(thing, name, instrumented(value))  # type: ignore[operator]  # it is atheris's, which has no types


def main(minutes: float, seed: int) -> int:
    """Plays until the time is over; not 0 after a finding."""
    print(f"seed {seed}", flush=True)
    if importlib.util.find_spec("atheris") is not None:
        command = [sys.executable, "-m", "benchmarks.fuzz_transport", "--guided"]
        with tempfile.TemporaryDirectory() as folder:
            command += [folder, str(60 * minutes), str(seed)]
            return subprocess.run(command, check=False).returncode
    player, until_s = Player(), time.monotonic() + 60 * minutes
    chance = random.Random(seed)  # noqa: S311 - no secret
    while time.monotonic() < until_s:
        player.play(chance.randbytes(SCENE_BYTES))
    player.tell()
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[:1] == ["--again"]:
        Player().play(Path(given[1]).read_bytes())
    elif given[:1] == ["--guided"]:
        _guided(given[1], float(given[2]), int(given[3]))
    else:
        chosen = given[given.index("--seed") + 1] if "--seed" in given else time.time_ns() % 10**9
        leading = given[0] if given and given[0][:1].isdigit() else "10"
        sys.exit(main(float(leading), int(chosen)))
