"""The gate that calls pass: open as a rule, one call at a time during an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from batchkms.errors import KmsError, OutageError
from batchkms.records import ErrorClass
from batchkms.retry import OutageWatch

log = logging.getLogger(__name__)


class OutageGate:
    """Lets calls pass, and during an outage one probe after the other.

    `budget_s` is how long nothing may succeed before the run is stopped with OutageError.
    """

    def __init__(self, *, budget_s: float) -> None:
        self._budget_s = budget_s
        self._watch = OutageWatch()
        self._probing = asyncio.Lock()
        self._last: KmsError | None = None

    @property
    def active(self) -> bool:
        """Whether there is an outage now."""
        return self._watch.active

    def paused_s(self) -> float:
        """The time spent in outages so far, in seconds."""
        return self._watch.paused_s(_now() if self._watch.active else 0.0)

    def passage(self) -> AbstractAsyncContextManager[bool]:
        """Surrounds one call: at once as a rule, alone and after a pause during an outage.

        Gives whether the call is such a probe.
        Raises OutageError when the outage has used up its budget.
        """
        return self._in_turn() if self._watch.active else _FREE

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[bool]:
        async with self._probing:
            if self._watch.active:
                await self._pause()
                yield True
                return
        yield False

    def answered(self) -> None:
        """The service answered a call, well or with a refusal."""
        if self._watch.calm:
            return
        lasted_s = self._watch.lasted_s(_now())
        if self._watch.answered(_now()):
            log.warning("the service answers again after %.1f s; going on", lasted_s)

    def failed(self, row: int, error: KmsError) -> None:
        """A call for a row, known by any number of its own, failed with a transient error."""
        self._last = error
        throttled = error.verdict.error_class is ErrorClass.THROTTLED
        if self._watch.failed(row, _now(), throttled=throttled):
            log.warning(
                "nothing succeeds: trying one call at a time for up to %g s, and no row is given "
                "up meanwhile; the last answer was %s",
                self._budget_s,
                error,
            )

    async def begins(self, row: int, error: KmsError) -> bool:
        """Whether what a row has failed with for the last time is the beginning of an outage.

        Waits until that can be told: a row may have used up its attempts before, by short pauses.
        """
        while left_s := self._watch.undecided_s(_now()):
            await asyncio.sleep(left_s)
            if not self._watch.calm:
                self.failed(row, error)
        return self._watch.active

    async def _pause(self) -> None:
        left_s = self._budget_s - self._watch.lasted_s(_now())
        if left_s <= 0:
            last = self._last
            raise OutageError(
                f"no call has succeeded for {self._watch.lasted_s(_now()):.0f} s; the last one: "
                f"{last}",
                hint=(last.hint or last.verdict.advice) if last else None,
            )
        await asyncio.sleep(min(left_s, self._watch.probe_delay_s()))


class _Free(AbstractAsyncContextManager[bool]):
    """The passage while there is no outage. It is made once: every call goes through it."""

    async def __aenter__(self) -> bool:
        return False

    async def __aexit__(self, *error: object) -> None:
        return None


_FREE = _Free()


def _now() -> float:
    return asyncio.get_running_loop().time()
