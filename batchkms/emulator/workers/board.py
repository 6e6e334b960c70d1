"""Memory that all workers share: quota windows, fault rules and their counts.

It is mapped before the workers are forked, and guarded by a record lock on a file without a
name. The kernel gives up such a lock with the process that holds it, so that a worker which is
killed never holds up the others. All times are of the system-wide monotonic clock.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import tempfile
from collections.abc import MutableSequence
from contextlib import AbstractContextManager
from typing import cast

from batchkms.emulator.faults.ledger import MAX_RULES
from batchkms.emulator.quota import WINDOW_S

MAX_LIMIT = 32_768
"""The highest quota that workers can hold together: over the largest tier, 30,000."""

_WORD = 8
_SLOTS = 128
_SLOT_HEAD = 4
_SLOT_WORDS = _SLOT_HEAD + MAX_LIMIT
_TEXT_BYTES = 256 * 1024

# Where things are, in words: version and length of the rules, their counts, their text, windows.
_VERSION, _LENGTH, _COUNTS = 0, 1, 2
_TEXT = _COUNTS + 2 * MAX_RULES
_WINDOWS = _TEXT + _TEXT_BYTES // _WORD
_WORDS = _WINDOWS + _SLOTS * _SLOT_WORDS

# The words at the head of a window: whose it is, how many calls it has let through, and how many
# it has counted in which second.
_OWNER, _LET_THROUGH, _SECOND, _COUNTED = range(_SLOT_HEAD)


class _Lock:
    """Held by one process at a time; not to be taken twice by the same one."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open while the process lives

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc_info: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()


class Board:
    """The shared memory. `words` and `times` are two views of the same bytes."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _WORDS * _WORD)
        self.words = memoryview(self.memory).cast("Q")
        self.times = memoryview(self.memory).cast("d")
        self.lock = _Lock()

    def close(self) -> None:
        """Gives the lock back; the memory goes with the last view of it."""
        self.lock.close()

    def slot(self, name: tuple[str, str, str]) -> int:
        """Where the window of an account, region and group begins, in words."""
        digest = hashlib.blake2b("\0".join(name).encode(), digest_size=_WORD).digest()
        owner = int.from_bytes(digest, "big") | 1
        with self.lock:
            for probe in range(_SLOTS):
                begin = _WINDOWS + (owner + probe) % _SLOTS * _SLOT_WORDS
                if self.words[begin + _OWNER] in (0, owner):
                    self.words[begin + _OWNER] = owner
                    return begin
        raise RuntimeError("there are more quotas than workers can share")

    def forget_calls(self) -> None:
        """Empties every window."""
        with self.lock:
            for begin in range(_WINDOWS, _WORDS, _SLOT_WORDS):
                if self.words[begin + _OWNER]:
                    for word in (_LET_THROUGH, _SECOND, _COUNTED):
                        self.words[begin + word] = 0


class SharedLedger:
    """The fault rules of all workers, and how often each was asked and hit."""

    def __init__(self, board: Board) -> None:
        self._board = board
        counts = board.words[_COUNTS : _COUNTS + 2 * MAX_RULES]
        self.counts = cast("MutableSequence[int]", counts)

    @property
    def version(self) -> int:
        """A number that changes with the rules, whichever worker changes them."""
        return self._board.words[_VERSION]

    @property
    def text(self) -> bytes:
        """The rules in force, as JSON."""
        begin = _TEXT * _WORD
        return self._board.memory[begin : begin + self._board.words[_LENGTH]] or b"[]"

    def write(self, text: bytes) -> None:
        """Puts other rules in force. Raises ValueError if they are too long."""
        if len(text) > _TEXT_BYTES:
            raise ValueError(f"the fault rules take more than {_TEXT_BYTES:,} bytes")
        begin = _TEXT * _WORD
        self._board.memory[begin : begin + len(text)] = text
        self._board.words[_LENGTH] = len(text)
        self._board.words[_VERSION] += 1

    def locked(self) -> AbstractContextManager[None]:
        """No other worker counts or writes meanwhile."""
        return self._board.lock


class SharedSlidingWindow:
    """A sliding second over the calls of all workers: exact, as one process would hold it.

    The times of the last calls are a ring: a call is let through if the one that was let
    through `limit` calls before it is over a second ago.
    """

    def __init__(self, board: Board, name: tuple[str, str, str], limit: int) -> None:
        self.limit = limit
        self._board = board
        self._begin = board.slot(name)

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else about the calls of the last second.

        Refused calls are counted by whole seconds here; the figure is for the message only.
        """
        with self._board.lock:
            return self._refusal(now_s)

    def _refusal(self, now_s: float) -> int:
        words, times, begin = self._board.words, self._board.times, self._begin
        ring = begin + _SLOT_HEAD
        count, limit = words[begin + _LET_THROUGH], min(self.limit, MAX_LIMIT)
        if count:
            # Another worker may have read the clock a little later and come here earlier.
            now_s = max(now_s, times[ring + (count - 1) % MAX_LIMIT])
        if count < limit or times[ring + (count - limit) % MAX_LIMIT] <= now_s - WINDOW_S:
            times[ring + count % MAX_LIMIT] = now_s
            words[begin + _LET_THROUGH] = count + 1
            return 0
        return limit + _counted(words, begin, now_s)


class SharedFixedWindow:
    """Whole seconds of the clock, over the calls of all workers."""

    def __init__(self, board: Board, name: tuple[str, str, str], limit: int) -> None:
        self.limit = limit
        self._board = board
        self._begin = board.slot(name)

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else the calls of this second, this one included."""
        with self._board.lock:
            calls = _counted(self._board.words, self._begin, now_s)
        return calls if calls > self.limit else 0


def _counted(words: memoryview[int], begin: int, now_s: float) -> int:
    """Counts one more for the whole second that it is now; how many there are."""
    second = int(now_s // WINDOW_S)
    if words[begin + _SECOND] != second:
        words[begin + _SECOND], words[begin + _COUNTED] = second, 0
    words[begin + _COUNTED] += 1
    return words[begin + _COUNTED]
