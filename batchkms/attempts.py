"""One record's way to its Result: gate, quota, call, verdict, backoff, and again."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from itertools import count
from typing import TypeVar

from batchkms.errors import CredentialsError, KmsError, NetworkError, RunStopped, Scope
from batchkms.kms.scrub import scrub
from batchkms.operations.base import Operation, failed
from batchkms.outage import OutageGate
from batchkms.quota import Group, Quotas
from batchkms.records import ErrorClass, Record, Result
from batchkms.retry import RetryPolicy
from batchkms.tally import Tally

T = TypeVar("T")

REFUSED_KEYS = 10_000
"""So many unusable CMKs are remembered; each costs its rows one call more when it is forgotten."""


class NotDone(Exception):
    """The run is ending, and this record gets no Result."""


class Attempts:
    """Makes the attempts of records, many at a time.

    `key_per_record` says that records name their own CMKs: an unusable one then fails its
    own records, without further calls, instead of stopping the run.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        quotas: Quotas,
        retry: RetryPolicy,
        tally: Tally,
        outage_budget_s: float = 300.0,
        key_per_record: bool = False,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.operation = operation
        self.quotas = quotas
        self.retry = retry
        self.tally = tally
        self.key_per_record = key_per_record
        self.uniform = uniform
        self.refused_keys: dict[str, KmsError] = {}
        self.waiting_for_answer: set[asyncio.Task[None] | None] = set()
        self.finishing = False
        self._numbers = count(1)
        # Two endpoints fail and recover apart: while one answers, the other can be down.
        own = OutageGate(budget_s=outage_budget_s)
        self.gates = dict.fromkeys(quotas, own)
        if Group.SOURCE in self.gates and len(self.gates) > 1:
            self.gates[Group.SOURCE] = OutageGate(budget_s=outage_budget_s)
        self._each_gate = tuple(set(self.gates.values()))

    @cached_property
    def now(self) -> Callable[[], float]:
        """The clock of the running event loop, in seconds."""
        return asyncio.get_running_loop().time

    @cached_property
    def stopwatch(self) -> Callable[[], float]:
        """A clock that is fine enough for a latency, in seconds.

        uvloop's own counts whole milliseconds and stands still while its callbacks run.
        """
        loop = asyncio.get_running_loop()
        return time.perf_counter if type(loop).__module__.startswith("uvloop") else loop.time

    def paused_s(self) -> float:
        """The time spent in outages so far, in seconds."""
        paused_s = 0.0
        for gate in self._each_gate:
            paused_s += gate.paused_s()
        return paused_s

    @property
    def outage(self) -> bool:
        """Whether the run waits for a service that answers nobody."""
        return any(gate.active for gate in self.gates.values())

    def calling(self, task: asyncio.Task[None]) -> bool:
        """Whether this task waits for an answer just now."""
        return task in self.waiting_for_answer

    def finish(self) -> None:
        """From now on nothing is tried again: what would be raises NotDone instead."""
        self.finishing = True

    async def settle(self, record: Record, task: asyncio.Task[None] | None = None) -> Result:
        """The record's Result, however many attempts it takes.

        `task` is the current one, where the caller knows it. Raises RunStopped when an error
        condemns the whole run, and NotDone when it is ending.
        """
        case = _Case(self, task or asyncio.current_task())
        try:
            result = await self.operation.do(record, case)
        except KmsError as error:
            result = self._given_up(record, error)
        result.attempts = case.attempts
        result.latency_ms = case.latency_ms
        return result

    async def settle_lot(self, records: Sequence[Record]) -> list[Result]:
        """The Results of local records, in their order.

        Calls that were made for all of them count for the first one. Raises as `settle` does.
        """
        calls = _LotCalls(self)
        outcomes = await self.operation.do_lot(records, calls)
        results = [
            outcome if isinstance(outcome, Result) else self._given_up(record, outcome)
            for record, outcome in zip(records, outcomes, strict=True)
        ]
        results[0].attempts = calls.attempts
        results[0].latency_ms = calls.latency_ms
        return results

    def next_number(self) -> int:
        """A number that nothing else in this run has."""
        return next(self._numbers)

    def _given_up(self, record: Record, cause: KmsError) -> Result:
        # From here on the message may be shown, be it in a result or for the whole run.
        error = cause.saying(scrub(cause.message, record.plaintext))
        scope = error.verdict.scope
        key_id = error.key_id
        condemned = scope is Scope.KEY and key_id is not None and not self.key_per_record
        if scope is Scope.RUN or condemned:
            about = f"the CMK {key_id} cannot be used: " if condemned else ""
            raise RunStopped(f"{about}{error}", hint=error.hint or error.verdict.advice)
        if scope is Scope.KEY and key_id is not None:
            self.refuse(key_id, error)
        return failed(record, key_id or self.operation.key_id(record), error, attempts=0)

    def refuse(self, key_id: str, error: KmsError) -> None:
        """Remembers that a CMK cannot be used, and forgets the one known longest for it."""
        if key_id in self.refused_keys:
            return
        told = f"not sent: the CMK was refused earlier ({error.message})"
        self.refused_keys[key_id] = error.saying(told)
        if len(self.refused_keys) > REFUSED_KEYS:
            del self.refused_keys[next(iter(self.refused_keys))]


class _Case:
    """The calls of one record, and how far it has come. Implements `operations.Calls`.

    Times in seconds, on the loop's clock.
    """

    __slots__ = ("attempts", "charged", "error", "latency_ms", "number", "run", "started", "task")

    def __init__(self, run: Attempts, task: asyncio.Task[None] | None) -> None:
        self.run = run
        self.task = task
        self.number = run.next_number()
        """Tells it from all others of the run; `seq` is the caller's and may repeat."""
        self.attempts = 0
        self.charged = 0
        """The attempts that count for the cap: those since the last success, without probes."""
        self.latency_ms: float | None = None
        self.error: KmsError | None = None
        """What its last attempt failed with."""
        self.started: float | None = None
        """When its first attempt was sent, moved on by the outages since."""

    async def make(
        self, group: Group, call: Callable[[], Awaitable[T]], *, key_id: str | None = None
    ) -> T:
        """See `operations.base.Calls`."""
        run = self.run
        while True:
            if run.refused_keys and (refused := run.refused_keys.get(key_id or "")):
                # Anew each time: an exception keeps the frames of all that ever raised it.
                raise refused.saying(refused.message)
            try:
                answer = await self._attempt(group, call)
            except KmsError as error:
                error.key_id = key_id
                if error.verdict.retryable and run.finishing:
                    raise NotDone("the run ended before this row was done") from None
                if error.verdict.retryable and run.gates[group].active:
                    continue
                delay_s = self._delay_s(error)
                if delay_s is not None:
                    await asyncio.sleep(delay_s)
                elif not await self._meets_outage(group, error):
                    raise
            else:
                # Another call of the same record has attempts and a deadline of its own.
                self.charged, self.started = 0, None
                return answer

    async def _meets_outage(self, group: Group, error: KmsError) -> bool:
        """Whether a row with no attempt left has met an outage that is not known yet."""
        retry = self.run.retry
        used_up = error.verdict.retryable and self.charged >= retry.max_attempts
        if not used_up or not retry.outlasts_outage:
            return False
        begins = await self.run.gates[group].begins(self.number, error)
        if self.run.finishing:
            raise NotDone("the run ended before this row was done") from None
        return begins

    async def _attempt(self, group: Group, call: Callable[[], Awaitable[T]]) -> T:
        """One call, or none if the record's time ran out while it waited for its turn."""
        gate, quota = self.run.gates[group], self.run.quotas[group]
        while True:
            if gate.active:
                async with gate.passage() as probing:
                    await quota.acquire(first=self.error is not None)
                    if probing or not gate.active:
                        return await self._tried(group, call, probing=probing)
                continue
            if not quota.unlimited:
                await quota.acquire(first=self.error is not None)
                if gate.active:
                    continue  # an outage began meanwhile: this call would be one of a crowd
            return await self._tried(group, call, probing=False)

    async def _tried(self, group: Group, call: Callable[[], Awaitable[T]], *, probing: bool) -> T:
        run = self.run
        now = run.now()
        if self.started is None:
            self.started = now - run.paused_s()
        left_s = run.retry.deadline_s
        if self.error is not None:
            left_s -= now - run.paused_s() - self.started
            if left_s <= 0 and not probing:
                raise self.error
        # A probe is made for the run: what is left to its record would cut it short.
        try:
            answer = await self._timed_call(call, now, math.inf if probing else left_s)
        except KmsError as error:
            self.charged += not probing
            self._note(group, error)
            raise
        run.gates[group].answered()
        self.error = None
        return answer

    async def _timed_call(self, call: Callable[[], Awaitable[T]], now: float, left_s: float) -> T:
        run, tally, again = self.run, self.run.tally, self.error is not None
        tally.called(now, again=again)
        self.attempts += 1
        run.waiting_for_answer.add(self.task)
        tally.in_flight += 1
        began = run.stopwatch()
        try:
            if left_s >= run.retry.attempt_timeout_s:
                return await call()
            async with asyncio.timeout(max(left_s, 0.0)):
                return await call()
        except CredentialsError:
            # Nothing was sent: there was nothing to sign with.
            tally.not_called(again=again)
            self.attempts -= 1
            raise
        except TimeoutError:
            raise NetworkError("AttemptTimeout", "no answer before the record's deadline") from None
        finally:
            # In whole microseconds; `round` takes four times as long.
            self.latency_ms = int((run.stopwatch() - began) * 1e6 + 0.5) / 1000
            tally.in_flight -= 1
            run.waiting_for_answer.discard(self.task)

    def _note(self, group: Group, error: KmsError) -> None:
        run, gate = self.run, self.run.gates[group]
        self.error = error
        if error.verdict.error_class is ErrorClass.THROTTLED:
            run.tally.throttled += 1
            run.quotas[group].throttled()
        if error.verdict.retryable:
            gate.failed(self._at_fault(group, error), error)
        else:
            gate.answered()

    def _at_fault(self, group: Group, error: KmsError) -> int:
        """The number of the record that may itself be why this attempt failed."""
        return self.number

    def _delay_s(self, error: KmsError) -> float | None:
        return self.run.retry.delay_s(
            error.verdict,
            attempts=max(self.charged, 1),
            elapsed_s=self._elapsed_s(),
            uniform=self.run.uniform,
        )

    def _elapsed_s(self) -> float:
        now = self.run.now()
        return now - self.run.paused_s() - (now if self.started is None else self.started)


class _LotCalls:
    """The calls of one lot, each with attempts and a deadline of its own. Implements `Calls`."""

    __slots__ = ("attempts", "latency_ms", "run")

    def __init__(self, run: Attempts) -> None:
        self.run = run
        self.attempts = 0
        self.latency_ms: float | None = None

    async def make(
        self, group: Group, call: Callable[[], Awaitable[T]], *, key_id: str | None = None
    ) -> T:
        """See `operations.base.Calls`."""
        case = _SharedCase(self.run, asyncio.current_task())
        try:
            return await case.make(group, call, key_id=key_id)
        except KmsError as error:
            unusable = error.verdict.scope is Scope.KEY and key_id is not None
            if unusable and self.run.key_per_record:
                # Not only once this lot is done: others wait to ask for the same CMK.
                self.run.refuse(key_id or "", error)
            raise
        finally:
            self.attempts += case.attempts
            self.latency_ms = case.latency_ms or self.latency_ms


class _SharedCase(_Case):
    """One call that any number of records wait for."""

    __slots__ = ()

    def _at_fault(self, group: Group, error: KmsError) -> int:
        # So many records do not fail on their own: without this an outage would go unnoticed
        # until several lots were given up. A single CMK or data key may well be the cause of an
        # internal error, and is, as long as the run has others.
        cause = error.verdict.error_class
        shared = cause in (ErrorClass.NETWORK, ErrorClass.THROTTLED)
        if shared or (group is Group.DATA_KEY and not self.run.key_per_record):
            return self.run.next_number()
        return self.number
