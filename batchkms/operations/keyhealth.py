"""Whether the CMK that ciphertexts are under can be used, where only their rows say which it is.

A call of Decrypt or ReEncrypt names no CMK: the service finds it in the ciphertext. A damaged one
may name a CMK that does not exist, so that one refusal says nothing of other rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from batchkms.errors import KmsError, RunStopped, Scope

T = TypeVar("T")

REFUSALS = 20
"""After so many refusals in a row for the rows of one CMK, it is the CMK."""

STOP_AFTER = 100
"""After so many refusals in a row, whatever the rows say, no row can be done."""

MOST_KEYS = 10_000
"""So many CMKs are told apart."""


class KeyHealth:
    """Counts refusals by the CMK that rows name; rows that name none count as of one.

    With `stops`, a run in which no row can be done any more is stopped.
    """

    def __init__(self, *, stops: bool = True) -> None:
        self._stops = stops
        self._refusals: Counter[str] = Counter()
        self._refused: dict[str, KmsError] = {}
        self._named: set[str] = set()
        self._in_a_row = 0

    async def call(self, named: str | None, make: Callable[[], Awaitable[T]]) -> T:
        """What a call for a row returns. Raises KmsError, without any call for a refused CMK.

        Raises RunStopped when no other row can fare better.
        """
        key = named or ""
        if refused := self._refused.get(key):
            # Anew each time: an exception keeps the frames of all that ever raised it.
            raise refused.saying(refused.message)
        if len(self._named) < MOST_KEYS:
            self._named.add(key)
        try:
            answer = await make()
        except KmsError as error:
            if error.verdict.scope is Scope.KEY:
                self._failed(key, error)
            raise
        self._in_a_row = 0
        self._refusals.pop(key, None)
        return answer

    def _failed(self, key: str, error: KmsError) -> None:
        self._in_a_row += 1
        self._refusals[key] += key in self._refusals or len(self._refusals) < MOST_KEYS
        if key and self._refusals[key] >= REFUSALS:
            told = f"not sent: the CMK was refused earlier ({error.message})"
            self._refused[key] = error.saying(told)
        only = len(self._named) == 1 and self._in_a_row >= REFUSALS
        if self._stops and (only or self._in_a_row >= STOP_AFTER):
            what = f"the CMK {key} cannot be used" if only and key else "no CMK can be used"
            raise RunStopped(
                f"{what}: {self._in_a_row} calls in a row were refused, the last one with {error}",
                hint=error.hint or error.verdict.advice,
            )
