"""Where every id, key and nonce of the emulator comes from: the system, or a seed.

All of them are drawn from one object, so that two emulators with one seed and the same calls
draw the same.
"""

from __future__ import annotations

import hashlib
import os

_BLOCK_BYTES = 4096


class Randomness:
    """Random bytes of the operating system."""

    seeded = False
    """Whether the same draws come again after `rewind`, and in every run."""

    def draw(self, count: int) -> bytes:
        """So many random bytes."""
        return os.urandom(count)

    def rewind(self) -> None:
        """Begins the draws of calls, anew if there were some; those of the start are others."""

    def request_id(self) -> str:
        """A fresh request id: a version 4 UUID, as the service's are."""
        return _uuid(self.draw(16), version=4)

    def key_id(self) -> str:
        """A fresh key id: in the form of a version 1 UUID, as the service's are.

        Neither a time nor a hardware address is in it; all of it is random.
        """
        return _uuid(self.draw(16), version=1)


class SeededRandomness(Randomness):
    """The same bytes in every run with the same seed. Whoever knows the seed knows every key.

    There are two streams, each SHAKE-256 of the seed and a counter: one while the emulator
    starts, which a kept store may spare it, and one for calls.
    """

    seeded = True

    def __init__(self, seed: int | bytes) -> None:
        text = seed if isinstance(seed, bytes) else str(seed).encode()
        self._seed = hashlib.sha256(b"batchkms emulator seed " + text).digest()
        self._stream, self._block, self._used, self._blocks = b"start", b"", 0, 0

    def draw(self, count: int) -> bytes:
        """The next bytes of the stream."""
        while len(self._block) - self._used < count:
            self._block = self._block[self._used :] + self._next_block()
            self._used = 0
        drawn = self._block[self._used : self._used + count]
        self._used += count
        return drawn

    def rewind(self) -> None:
        """Begins the stream of calls, anew if it had begun."""
        self._stream, self._block, self._used, self._blocks = b"calls", b"", 0, 0

    def _next_block(self) -> bytes:
        self._blocks += 1
        counted = self._seed + self._blocks.to_bytes(8, "big") + self._stream
        return hashlib.shake_256(counted).digest(_BLOCK_BYTES)


class SteppedDates:
    """A clock for the dates of keys when there is a seed: one second later at each reading.

    The real time would make two runs with one seed differ in every CreateTime.
    """

    START_S = 1_700_000_000

    def __init__(self) -> None:
        self.rewind()

    def __call__(self) -> float:
        self._now_s += 1
        return self._now_s

    def rewind(self) -> None:
        """Goes back to the first second."""
        self._now_s = self.START_S


def _uuid(drawn: bytes, *, version: int) -> str:
    # NOTE: a third of the time that uuid.UUID takes; request ids are on the path of every call.
    text = drawn.hex()
    variant = "89ab"[drawn[8] & 3]
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def randomness_of(seed: int | None) -> Randomness:
    """What to draw from, with a seed or without."""
    return Randomness() if seed is None else SeededRandomness(seed)
