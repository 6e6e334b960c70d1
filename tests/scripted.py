"""An operation that answers from a script, and sources that watch how they are read.

They stand where KMS and the files stand, so that the engine is tested alone, on virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from itertools import islice

from batchkms.engine import Batch, Engine, EngineOptions
from batchkms.errors import KmsError
from batchkms.operations.base import Calls, Operation
from batchkms.quota import Group, Quotas
from batchkms.records import Record, Result
from batchkms.retry import RetryPolicy
from batchkms.tally import Tally

OK = "ok"
HANG = "hang"
"""An outcome: no answer until the call is cancelled."""

DEFAULT_KEY = "the-only-key"

Script = Callable[[Record, int], str]
"""The outcome of a record's n-th call, counted from 0: OK, HANG or an error code."""


class Scripted(Operation):
    """Answers by script. `calls` holds when each call began and for which `seq`."""

    name = "scripted"
    groups = (Group.CRYPT,)

    def __init__(self, script: Script, *, took_s: Callable[[Record], float] | float = 0.01) -> None:
        self._script = script
        self._took_s = took_s
        self._made: dict[int, int] = {}
        self.calls: list[tuple[float, int]] = []
        self.under_way = 0
        self.most_under_way = 0

    def key_id(self, record: Record) -> str:
        return record.key_id or DEFAULT_KEY

    async def do(self, record: Record, calls: Calls) -> Result:
        call = partial(self.attempt, record)
        return await calls.make(Group.CRYPT, call, key_id=self.key_id(record))

    async def attempt(self, record: Record) -> Result:
        """One call."""
        number = self._made.get(record.seq, 0)
        self._made[record.seq] = number + 1
        self.calls.append((now_s(), record.seq))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            outcome = self._script(record, number)
            await self._answer(record, hang=outcome == HANG)
        finally:
            self.under_way -= 1
        if outcome != OK:
            raise KmsError(outcome, f"call {number + 1} of row {record.seq} failed")
        return Result(
            seq=record.seq,
            id=record.id,
            status="ok",
            key_id=self.key_id(record),
            ciphertext="c",
            attempts=1,
        )

    async def _answer(self, record: Record, *, hang: bool) -> None:
        if hang:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self._took_s(record) if callable(self._took_s) else self._took_s)

    def count(self, seq: int) -> int:
        """How many calls were made for a row."""
        return self._made.get(seq, 0)

    @property
    def times(self) -> list[float]:
        """When the calls began, in seconds."""
        return [at for at, _ in self.calls]


def always(outcome: str) -> Script:
    """The same outcome for every call."""
    return lambda record, number: outcome


def by_row(outcomes: dict[int, list[str]], *, then: str = OK) -> Script:
    """The outcomes of each row's calls by its `seq`; after them, and for other rows, `then`."""

    def script(record: Record, number: int) -> str:
        row = outcomes.get(record.seq, [])
        return row[number] if number < len(row) else then

    return script


def record(seq: int, *, key_id: str | None = None, size_bytes: int = 8) -> Record:
    """A record with so many bytes of plaintext."""
    return Record(seq=seq, id=f"row-{seq}", plaintext=b"p" * size_bytes, key_id=key_id)


def records(count: int) -> list[Record]:
    """Records 1 to `count`."""
    return [record(seq) for seq in range(1, count + 1)]


class Source:
    """Hands out items in batches and knows how many were taken and whether it was closed."""

    def __init__(self, items: Iterable[Record | Result], *, batch: int = 1) -> None:
        self._items = iter(items)
        self._batch = batch
        self.taken = 0
        self.closed = False

    async def batches(self) -> AsyncIterator[Batch]:
        try:
            while items := list(islice(self._items, self._batch)):
                self.taken += len(items)
                yield items
        finally:
            self.closed = True


def engine_for(
    operation: Scripted,
    *,
    per_second: int | None = None,
    retry: RetryPolicy | None = None,
    options: EngineOptions | None = None,
    tally: Tally | None = None,
    uniform: Callable[[], float] = lambda: 0.5,
) -> Engine:
    """An engine whose jitter is known."""
    return Engine(
        operation,
        quotas=Quotas({Group.CRYPT: per_second}),
        retry=retry,
        options=options,
        tally=tally,
        uniform=uniform,
    )


async def results_of(engine: Engine, items: Iterable[Record | Result]) -> list[Result]:
    """Every Result of a run. Raises what stopped it."""
    results, error = await outcome_of(engine, items)
    if error is not None:
        raise error
    return results


async def outcome_of(
    engine: Engine, items: Iterable[Record | Result], *, batch: int = 1
) -> tuple[list[Result], Exception | None]:
    """Every Result of a run, and what stopped it, if anything did."""
    results: list[Result] = []
    source = Source(items, batch=batch)
    try:
        async with aclosing(engine.run(source.batches())) as lists:
            async for some in lists:
                results += some
    except Exception as error:
        return results, error
    return results, None


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


def other_tasks() -> set[asyncio.Task[object]]:
    """Every task but the current one: none may be left by a run."""
    current: asyncio.Task[object] | None = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}
