"""One record's way to its Result: gate, quota, call, verdict, backoff, and again."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from itertools import count

from batchkms.errors import CredentialsError, KmsError, NetworkError, RunStopped, Scope
from batchkms.kms.scrub import scrub
from batchkms.operations.base import Operation, failed
from batchkms.outage import OutageGate
from batchkms.quota import Quota
from batchkms.records import ErrorClass, Record, Result
from batchkms.retry import RetryPolicy
from batchkms.tally import Tally

REFUSED_KEYS = 10_000
"""So many unusable CMKs are remembered; each costs its rows one call more when it is forgotten."""


class _Case:
    """How far one record has come. Times in seconds, on the loop's clock."""

    __slots__ = (
        *("attempts", "charged", "error", "key_id", "latency_ms", "number", "record", "started"),
    )

    def __init__(self, record: Record, key_id: str, number: int) -> None:
        self.record = record
        self.number = number
        """Tells it from all others of the run; `seq` is the caller's and may repeat."""
        self.key_id = key_id
        self.attempts = 0
        self.charged = 0
        self.latency_ms: float | None = None
        self.error: KmsError | None = None
        """What its last attempt failed with."""
        self.started: float | None = None
        """When its first attempt was sent, moved on by the outages since."""


class Attempts:
    """Makes the attempts of records, many at a time.

    `key_per_record` says that records name their own CMKs: an unusable one then fails its
    own records, without further calls, instead of stopping the run.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        quota: Quota,
        gate: OutageGate,
        retry: RetryPolicy,
        tally: Tally,
        key_per_record: bool = False,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._operation = operation
        self._quota = quota
        self._gate = gate
        self._retry = retry
        self._tally = tally
        self._key_per_record = key_per_record
        self._uniform = uniform
        self._refused_keys: dict[str, KmsError] = {}
        self._calling: set[asyncio.Task[None] | None] = set()
        self._numbers = count(1)
        self._finishing = False

    def calling(self, task: asyncio.Task[None]) -> bool:
        """Whether this task waits for an answer just now."""
        return task in self._calling

    def finish(self) -> None:
        """From now on no record is tried again: its `settle` raises RunStopped instead."""
        self._finishing = True

    async def settle(self, record: Record) -> Result:
        """The record's Result, however many attempts it takes.

        Raises RunStopped when an error condemns the whole run, or the run was stopped.
        """
        case = _Case(record, self._operation.key_id(record), next(self._numbers))
        while True:
            if refused := self._refused_keys.get(case.key_id):
                return _not_sent(case, refused)
            outcome = await self._attempt(case)
            if isinstance(outcome, Result):
                return outcome
            if outcome.verdict.retryable and self._finishing:
                raise RunStopped("the run was stopped before this row was done")
            if outcome.verdict.retryable and self._gate.active:
                continue
            delay_s = self._delay_s(case, outcome)
            if delay_s is None:
                return self._give_up(case, outcome)
            await asyncio.sleep(delay_s)

    async def _attempt(self, case: _Case) -> Result | KmsError:
        """One call, or none if the record's time ran out while it waited for its turn."""
        clock = asyncio.get_running_loop().time
        while True:
            async with self._gate.passage() as probing:
                await self._quota.acquire(first=case.attempts > 0)
                if self._gate.active and not probing:
                    continue  # an outage began meanwhile: this call would be one of a crowd
                began = clock()
                if case.started is None:
                    case.started = began - self._gate.paused_s()
                left_s = self._retry.deadline_s - self._elapsed_s(case)
                if case.error is not None and left_s <= 0 and not probing:
                    return case.error
                # A probe is made for the run: what is left to its record would cut it short.
                outcome = await self._timed_call(case, math.inf if probing else left_s)
                case.charged += not probing
                return self._noted(case, outcome)

    async def _timed_call(self, case: _Case, left_s: float) -> Result | KmsError:
        self._tally.called(asyncio.get_running_loop().time(), again=case.attempts > 0)
        case.attempts += 1
        task = asyncio.current_task()
        self._calling.add(task)
        self._tally.in_flight += 1
        stopwatch = _stopwatch()
        began = stopwatch()
        try:
            if left_s >= self._retry.attempt_timeout_s:
                return await self._operation.attempt(case.record)
            async with asyncio.timeout(max(left_s, 0.0)):
                return await self._operation.attempt(case.record)
        except CredentialsError as error:
            # Nothing was sent: there was nothing to sign with.
            self._tally.not_called(again=case.attempts > 1)
            case.attempts -= 1
            return error
        except KmsError as error:
            return error
        except TimeoutError:
            return NetworkError("AttemptTimeout", "no answer before the record's deadline")
        finally:
            case.latency_ms = round((stopwatch() - began) * 1000, 3)
            self._tally.in_flight -= 1
            self._calling.discard(task)

    def _noted(self, case: _Case, outcome: Result | KmsError) -> Result | KmsError:
        if isinstance(outcome, Result):
            self._gate.answered()
            outcome.attempts = case.attempts
            outcome.latency_ms = case.latency_ms
            return outcome
        case.error = outcome
        throttled = outcome.verdict.error_class is ErrorClass.THROTTLED
        if throttled:
            self._tally.throttled += 1
            self._quota.throttled()
        if outcome.verdict.retryable:
            self._gate.failed(case.number, outcome)
        else:
            self._gate.answered()
        return outcome

    def _delay_s(self, case: _Case, error: KmsError) -> float | None:
        return self._retry.delay_s(
            error.verdict,
            attempts=max(case.charged, 1),
            elapsed_s=self._elapsed_s(case),
            uniform=self._uniform,
        )

    def _elapsed_s(self, case: _Case) -> float:
        now = asyncio.get_running_loop().time()
        return now - self._gate.paused_s() - (now if case.started is None else case.started)

    def _refuse(self, key_id: str, error: KmsError) -> None:
        """Remembers that a CMK cannot be used, and forgets the one known longest for it."""
        self._refused_keys[key_id] = error
        if len(self._refused_keys) > REFUSED_KEYS:
            del self._refused_keys[next(iter(self._refused_keys))]

    def _give_up(self, case: _Case, cause: KmsError) -> Result:
        # From here on the message may be shown, be it in a result or for the whole run.
        error = cause.saying(scrub(cause.message, case.record.plaintext))
        scope = error.verdict.scope
        if scope is Scope.RUN or (scope is Scope.KEY and not self._key_per_record):
            about = f"the CMK {case.key_id} cannot be used: " if scope is Scope.KEY else ""
            raise RunStopped(f"{about}{error}", hint=error.hint or error.verdict.advice)
        if scope is Scope.KEY:
            self._refuse(case.key_id, error)
        result = failed(case.record, case.key_id, error, attempts=case.attempts)
        result.latency_ms = case.latency_ms
        return result


def _stopwatch() -> Callable[[], float]:
    """A clock that is fine enough for a latency, in seconds.

    uvloop's own counts whole milliseconds and stands still while its callbacks run.
    """
    loop = asyncio.get_running_loop()
    return time.perf_counter if type(loop).__module__.startswith("uvloop") else loop.time


def _not_sent(case: _Case, refused: KmsError) -> Result:
    error = refused.saying(f"not sent: the CMK was refused earlier ({refused.message})")
    return failed(case.record, case.key_id, error, attempts=case.attempts)
