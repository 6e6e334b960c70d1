"""The flow: records in, workers inside a quota, one classified Result per record out.

    source ──▶ window ──▶ queue ──▶ workers ──▶ outbox ──▶ whoever iterates

One bound holds all of it: the window counts every item from when it is taken from the source
until its Result is handed out, so that the queue, calls in flight, retries that wait and
results that wait to be written never hold more than `queue_records` + `concurrency` items.
Nothing here knows HTTP or files.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass

import msgspec

from batchkms.attempts import Attempts, NotDone
from batchkms.errors import InputBroken, RunStopped
from batchkms.failurerules import ALL_FAILED_ROWS, MaxFailures, all_failed, too_many
from batchkms.flow import Outbox, Window
from batchkms.operations.base import Operation
from batchkms.quota import Quotas
from batchkms.records import EarlierResult, Record, Result
from batchkms.retry import RetryPolicy
from batchkms.tally import Tally

Batch = list[Record | Result]

LOT_RECORDS, LOT_BYTES = 256, 1024 * 1024
"""So much is done at once where records need no calls of their own; then others have a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The bounds of a run. Times in seconds.

    `stops_when_all_fail` ends a run whose first 100 rows all failed.
    """

    concurrency: int = 64
    queue_records: int = 1_000
    queue_bytes: int = 16 * 1024 * 1024
    ordered: bool = False
    outage_budget_s: float = 300.0
    drain_grace_s: float = 15.0
    max_failures: MaxFailures = MaxFailures()
    key_per_record: bool = False
    stops_when_all_fail: bool = True


class _Taken(msgspec.Struct, gc=False):
    """A record that was taken from the source: as which one, and how much it holds."""

    ordinal: int
    record: Record
    size_bytes: int


class Engine:
    """Runs one operation over one stream of records. Use it once.

    `tally` counts what happens, for whoever displays it. `uniform` is the jitter's source.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        quotas: Quotas,
        retry: RetryPolicy | None = None,
        options: EngineOptions | None = None,
        tally: Tally | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.tally = tally or Tally()
        self._options = options or EngineOptions()
        self._is_local = operation.is_local
        # Asked once: most operations have no local records at all.
        self._some_local = type(operation).is_local is not Operation.is_local
        self._same_lot = operation.same_lot
        self._attempts = Attempts(
            operation,
            quotas=quotas,
            retry=retry or RetryPolicy(),
            tally=self.tally,
            outage_budget_s=self._options.outage_budget_s,
            key_per_record=self._options.key_per_record,
            uniform=uniform,
        )
        self._window = Window(
            self._options.queue_records + self._options.concurrency, self._options.queue_bytes
        )
        self._outbox = Outbox(ordered=self._options.ordered)
        self._queue: deque[_Taken] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._workers: list[asyncio.Task[None]] = []
        self._producer: asyncio.Task[None] | None = None
        self._taken = 0
        self._workers_wanted = self._options.concurrency
        self._workers_now = 0
        self._no_more_rows = False
        self._draining = False
        self._stopped_by: BaseException | None = None
        self._source_error: BaseException | None = None
        self._first_failures = 0
        self._kept_ok = self.tally.ok

    def set_concurrency(self, workers: int) -> None:
        """Works with so many calls in flight from now on; calls under way are finished."""
        added = workers - self._workers_wanted
        self._workers_wanted = workers
        self._window.release(items=added)
        for _ in range(added):
            self._workers.append(asyncio.create_task(self._work()))
        self._tell_idle()

    @property
    def drained(self) -> bool:
        """Whether `drain` ended the run before its input did."""
        return self._draining and not (self.tally.exhausted and self.tally.done == self.tally.rows)

    @property
    def queued(self) -> int:
        """Records that wait for a worker."""
        return len(self._queue)

    @property
    def outage(self) -> bool:
        """Whether the run waits for a service that answers nobody."""
        return self._attempts.outage

    async def run(self, batches: AsyncIterable[Batch]) -> AsyncGenerator[list[Result], None]:
        """Yields the Results as they come, in lists as large as the consumer is slow.

        In order of completion, or of input with `ordered`. After the last Result, raises
        what stopped the run, if anything did: RunStopped, or whatever the source raised.
        Leaving the iteration early ends every task at once (use `contextlib.aclosing`).
        """
        producer = self._producer = asyncio.create_task(self._produce(batches))
        self._workers = [
            asyncio.create_task(self._work()) for _ in range(self._options.concurrency)
        ]
        ending = asyncio.create_task(self._end_output(producer))
        try:
            while results := await self._outbox.take():
                held_bytes = sum([result.size_bytes for result in results])
                yield results
                self._window.release(items=len(results), size_bytes=held_bytes)
            if error := self._stopped_by or self._source_error:
                raise error
        finally:
            tasks = [ending, producer, *self._workers]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def drain(self) -> None:
        """Takes no more rows and lets what is in flight end, within the grace time.

        Rows that were read but not begun get no Result, nor those that the grace time cuts.
        """
        if not self._draining:
            self._draining = True
            self._close()
            if self._attempts.outage:
                # Nobody answers: what only waits for its next try would wait in vain.
                self._cut_waiting()
            asyncio.get_running_loop().call_later(self._options.drain_grace_s, self._cut)

    def stop(self, error: BaseException) -> None:
        """Ends the run for this error: calls under way are finished, nothing is begun.

        Rows without a Result by then get none.
        """
        if self._stopped_by is None:
            self._stopped_by = error
        self._close()
        self._cut_waiting()

    async def _produce(self, batches: AsyncIterable[Batch]) -> None:
        try:
            async for batch in batches:
                if await self._take_together(batch):
                    continue
                for item in batch:
                    if self._no_more_rows:
                        return  # a row of this very batch stopped the run
                    size_bytes = item.size_bytes
                    if not self._window.admits(size_bytes):
                        await self._window.room(size_bytes)
                    self._take(item, size_bytes)
            self.tally.exhausted = True
        except asyncio.CancelledError:
            if not _asked_to_end():
                self._source_error = InputBroken("reading the input was cancelled from outside")
            raise
        except Exception as error:
            # Raised again where results are read, after those of the rows before it.
            self._source_error = error
        finally:
            self._tell_no_more_rows()

    async def _take_together(self, batch: Batch) -> bool:
        """Takes a batch of nothing but records, if it is a small part of what may be under way."""
        records = [item for item in batch if isinstance(item, Record)]
        if self._no_more_rows or len(records) < len(batch):
            return False
        taken = [
            _Taken(ordinal, record, record.size_bytes)
            for ordinal, record in enumerate(records, self._taken + 1)
        ]
        size_bytes = sum([each.size_bytes for each in taken])
        if not self._window.is_small_part(size_bytes, len(taken)):
            return False
        if not self._window.admits(size_bytes, len(taken)):
            await self._window.room(size_bytes, len(taken))
        self._window.enter(size_bytes, len(taken))
        self.tally.rows += len(taken)
        self._taken += len(taken)
        self._queue += taken
        for _ in range(min(len(taken), len(self._idle))):
            self._wake_one()
        return True

    def _take(self, item: Record | Result, size_bytes: int) -> None:
        self._window.enter(size_bytes)
        self.tally.rows += 1
        self._taken += 1
        if isinstance(item, Result):
            # It is counted anew as one that waits to leave.
            self._window.release(size_bytes=size_bytes)
            self._settled(self._taken, item)
            return
        self._queue.append(_Taken(self._taken, item, size_bytes))
        if self._idle:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _tell_no_more_rows(self) -> None:
        self._no_more_rows = True
        self._tell_idle()

    def _tell_idle(self) -> None:
        for waiter in self._idle:
            if not waiter.done():
                waiter.set_result(None)

    def _close(self) -> None:
        if self._producer is not None:
            self._producer.cancel()
        self._queue.clear()
        self._tell_no_more_rows()

    def _cut_waiting(self) -> None:
        self._attempts.finish()
        for worker in self._workers:
            if not self._attempts.calling(worker):
                worker.cancel()

    def _cut(self) -> None:
        # Whatever a call makes of being cancelled, its record is not tried again.
        self._attempts.finish()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        self._workers_now += 1
        task = asyncio.current_task()
        try:
            while (taken := self._next_at_once() or await self._next()) is not None:
                if self._some_local and self._is_local(taken.record):
                    await self._do_lot(self._lot(taken))
                    continue
                try:
                    result = await self._attempts.settle(taken.record, task)
                finally:
                    self._window.release(size_bytes=taken.size_bytes)
                self._settled(taken.ordinal, result)
        except asyncio.CancelledError:
            if not _asked_to_end():
                self.stop(RunStopped("a call was cancelled from outside the run"))
            raise
        except NotDone:
            pass
        except Exception as error:
            # RunStopped, or a defect: either must end the run, not one worker in silence.
            self.stop(error)
        finally:
            self._workers_now -= 1

    def _lot(self, first: _Taken) -> list[_Taken]:
        """The first record and the local ones that wait behind it."""
        queue, lot, left_bytes = self._queue, [first], LOT_BYTES - first.size_bytes
        while queue and len(lot) < LOT_RECORDS and self._goes_with(first, queue[0]):
            left_bytes -= queue[0].size_bytes
            if left_bytes < 0:
                break
            lot.append(queue.popleft())
        return lot

    def _goes_with(self, first: _Taken, other: _Taken) -> bool:
        local = self._is_local(other.record)
        return local and self._same_lot(first.record, other.record)

    async def _do_lot(self, lot: list[_Taken]) -> None:
        try:
            results = await self._attempts.settle_lot([taken.record for taken in lot])
        finally:
            self._window.release(size_bytes=sum([taken.size_bytes for taken in lot]))
        if all(result.ok for result in results):
            self._window.hold(sum([result.size_bytes for result in results]))
            self._outbox.put_all([taken.ordinal for taken in lot], results)
            self.tally.count_ok(results)
            return
        for taken, result in zip(lot, results, strict=True):
            self._settled(taken.ordinal, result)

    def _next_at_once(self) -> _Taken | None:
        """The next record, if one is there and this worker is not one too many."""
        enough = self._workers_now <= self._workers_wanted
        return self._queue.popleft() if self._queue and enough else None

    async def _next(self) -> _Taken | None:
        while not self._queue:
            if self._no_more_rows or self._workers_now > self._workers_wanted:
                return None
            waiter = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        # One worker too many leaves; those that stay do its rows.
        return self._queue.popleft() if self._workers_now <= self._workers_wanted else None

    def _settled(self, ordinal: int, result: Result) -> None:
        self._window.hold(result.size_bytes)
        # Whoever has nothing left to do may be waiting for the room that this Result takes.
        self._outbox.put(ordinal, result, at_once=not self._queue)
        self.tally.count(result)
        if isinstance(result, EarlierResult):
            self.tally.passed_on += 1
        elif not result.ok:
            self._first_failures += ordinal <= ALL_FAILED_ROWS
            # Where an earlier part of the run did rows, nothing is wrong with all of them.
            judged = self._options.stops_when_all_fail and not self._kept_ok
            if self._first_failures == ALL_FAILED_ROWS and judged:
                self.stop(all_failed(result.code, result.message))
        elif self.tally.done != MaxFailures.SHARE_FROM_ROWS:
            return  # a row that is ok can only make the share of failures smaller
        if self._options.max_failures.exceeded(self._own_failures(), self.tally.done):
            self.stop(too_many(self.tally))

    def _own_failures(self) -> int:
        return self.tally.failed - self.tally.passed_on

    async def _end_output(self, producer: asyncio.Task[None]) -> None:
        await asyncio.wait([producer])
        while working := [worker for worker in self._workers if not worker.done()]:
            await asyncio.wait(working)
        self._outbox.end()


def _asked_to_end() -> bool:
    """Whether the current task was cancelled itself, and not merely what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
