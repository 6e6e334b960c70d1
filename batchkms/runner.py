"""The library's way to a bulk job: records in, Results out, as the command line does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from itertools import islice

from batchkms.engine import Batch, Engine, EngineOptions
from batchkms.operations.base import Operation
from batchkms.quota import Quotas, per_second
from batchkms.records import Record, Result
from batchkms.retry import RetryPolicy

_BATCH_RECORDS = 64


async def bulk(
    operation: Operation,
    records: Iterable[Record] | AsyncIterable[Record],
    *,
    rate: int | None = 300,
    concurrency: int = 64,
    ordered: bool = False,
    key_per_record: bool = False,
    retry: RetryPolicy | None = None,
) -> AsyncGenerator[Result, None]:
    """Does an operation to every record and yields one Result for each.

    `rate` is the number of calls per second that are never exceeded, retries included (None:
    no limit). Results come in order of completion, or of the records with `ordered`. A record
    that fails is a Result with a class and a code; with `key_per_record` an unusable CMK fails
    only its own records. Records are taken as they are needed, about a thousand ahead; a plain
    iterable that blocks holds up the event loop meanwhile.

    Raises RunStopped when the run cannot go on: refused credentials, an unusable CMK, an
    outage, or the first hundred records all failed. Whatever `records` raises is raised after
    the Results of the records before. To leave the iteration early, close it
    (`contextlib.aclosing`): that ends the calls in flight.
    """
    quotas = Quotas(per_second(operation.groups, rate))
    engine = Engine(
        operation,
        quotas=quotas,
        retry=retry,
        options=EngineOptions(
            concurrency=concurrency, ordered=ordered, key_per_record=key_per_record
        ),
    )
    try:
        async with aclosing(engine.run(_batches(records))) as lots:
            async for results in lots:
                for result in results:
                    yield result
    finally:
        await quotas.aclose()


async def _batches(
    records: Iterable[Record] | AsyncIterable[Record],
) -> AsyncGenerator[Batch, None]:
    if isinstance(records, AsyncIterable):
        # One at a time: a slow producer's first record must not wait for its last.
        async for record in records:
            yield [record]
        return
    remaining = iter(records)
    while batch := list[Record | Result](islice(remaining, _BATCH_RECORDS)):
        yield batch
