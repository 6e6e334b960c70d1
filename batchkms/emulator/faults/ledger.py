"""Where the rules in force and their counts are kept: in this process, or for all workers."""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

MAX_RULES = 256


class Ledger(Protocol):
    """`text` is the rules as JSON, and `version` changes with it.

    `counts` holds two numbers per rule: the calls it was asked about and those it hit. What is
    read and written there together, is so inside `locked`.
    """

    counts: MutableSequence[int]

    @property
    def version(self) -> int:
        """A number that changes with the text."""

    @property
    def text(self) -> bytes:
        """The rules in force, as JSON."""

    def write(self, text: bytes) -> None:
        """Puts other rules in force. Raises ValueError if there is no room for them."""

    def locked(self) -> AbstractContextManager[None]:
        """No other worker counts or writes meanwhile."""


class LocalLedger:
    """The ledger of a process that serves alone."""

    def __init__(self) -> None:
        self.counts: MutableSequence[int] = array("Q", bytes(16 * MAX_RULES))
        self.version = 0
        self.text = b"[]"
        self._free = nullcontext()

    def write(self, text: bytes) -> None:
        """Puts other rules in force."""
        self.text = text
        self.version += 1

    def locked(self) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return self._free
