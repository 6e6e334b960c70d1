"""What a run writes: results as bytes, however many processes have made them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol

from batchkms.engine import Batch, Engine
from batchkms.records import Result
from batchkms.runs.rowsums import packed
from batchkms.sinks.base import Sink
from batchkms.tally import Tally


class Lot(NamedTuple):
    """Whole result rows as they are written, and their records of `rowsums`.

    `let_go` is to be called when the bytes are not needed any more.
    """

    data: bytes | memoryview
    sums: bytes
    let_go: Callable[[], None] | None = None


class Work(Protocol):
    """What does the rows of a run. `tally` counts what happens."""

    tally: Tally

    @property
    def queued(self) -> int:
        """Records that wait for their first call."""

    @property
    def outage(self) -> bool:
        """Whether the run waits for a service that answers nobody."""

    @property
    def drained(self) -> bool:
        """Whether `drain` ended the run before its input did."""

    def drain(self) -> None:
        """Takes no more rows and lets what is in flight end."""

    def set_concurrency(self, workers: int) -> None:
        """Works with so many calls in flight from now on."""


class OwnWork:
    """Implements `Work` by an engine of this process and the format of the results."""

    def __init__(self, engine: Engine, sink: Sink) -> None:
        self.tally = engine.tally
        self._engine = engine
        self._sink = sink

    @property
    def queued(self) -> int:
        """See `Work`."""
        return self._engine.queued

    @property
    def outage(self) -> bool:
        """See `Work`."""
        return self._engine.outage

    @property
    def drained(self) -> bool:
        """See `Work`."""
        return self._engine.drained

    async def run(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[Lot, None]:
        """Yields the results as they come. After the last one, raises what stopped the run."""
        async with aclosing(self._engine.run(batches)) as lots:
            async for results in lots:
                yield encoded(results, self._sink)

    def drain(self) -> None:
        """See `Work`."""
        self._engine.drain()

    def set_concurrency(self, workers: int) -> None:
        """See `Work`."""
        self._engine.set_concurrency(workers)


def encoded(results: Sequence[Result], sink: Sink) -> Lot:
    """Some results as a lot."""
    rows = sink.encode(results)
    return Lot(b"".join(rows), packed([result.seq for result in results], rows))
