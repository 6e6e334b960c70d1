"""Who does the rows of a batch run: an engine of this process, or a team of several."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from batchkms.cli.batchloop import spare_the_collector
from batchkms.cli.connect import Connection
from batchkms.engine import Batch, Engine
from batchkms.forks import forks, forks_are_safe
from batchkms.job import JobSpec
from batchkms.operations.base import Operation
from batchkms.quota import Quotas
from batchkms.runs.begin import Begun
from batchkms.runs.fingerprint import InputRows
from batchkms.runs.lots import Lot, OwnWork, Work
from batchkms.sinks.base import Sink
from batchkms.sources import longest_row
from batchkms.sources.base import Source
from batchkms.sources.lineblocks import LineBlock, LineBlocks
from batchkms.sources.linesorrows import LinesOrRows
from batchkms.sources.reading import LARGE_CHUNK_BYTES, StreamSource
from batchkms.sources.stream import CHUNK_BYTES
from batchkms.tally import Tally
from batchkms.team.job import MemberJob, in_large_parts
from batchkms.team.member import MemberCopy
from batchkms.team.ring import Memory, make_memory
from batchkms.team.team import Item, Team, Told, hired, limited, rows_of_deal


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the work of a run is made of."""

    spec: JobSpec
    connection: Connection
    source: Source
    rows: InputRows
    sink: Sink
    quotas: Quotas
    tally: Tally
    copies: Sequence[MemberCopy]


@contextmanager
def copies_for(spec: JobSpec) -> Iterator[Sequence[MemberCopy]]:
    """The processes that a run is to have beside this one; none if it has to start them later.

    Use it before there is an event loop. Raises ConfigError.
    """
    if spec.processes == 1 or not forks_are_safe():
        yield ()
        return
    # Loaded once, here.
    from batchkms.cli.loops import loop_runner
    from batchkms.cli.memberprocess import main

    loop_runner()
    # What all of them share is not to be written to by each, as the collector would.
    spare_the_collector()
    memories = [make_memory(spec.processes) for _ in range(spec.processes)]

    def begin(memory: Memory | None, number: int) -> None:
        for other in memories:
            if other is not None and other is not memory:
                other.close()
        main(number, memory)

    with forks([partial(begin, memory) for memory in memories]) as made:
        yield [*map(MemberCopy, made, memories)]


def rows_to_do(
    spec: JobSpec, source: Source, begun: Begun, rows: InputRows
) -> AsyncGenerator[Item, None]:
    """The rows to do; in lines if other processes are to read them, which takes ordinary ones.

    A run that goes on compares what it reads with what was read before, row by row.
    """
    lines = source.lines_of if isinstance(source, StreamSource) else None
    dealt = spec.processes > 1 and begun.is_fresh
    if not dealt or lines is None or not isinstance(source, StreamSource):
        return rows.remaining(_rows(_limited(source.batches(), spec.limit)))
    blocks = LineBlocks(
        longest_row_bytes=longest_row(spec.fields(), spec.max_plaintext_bytes),
        block_rows=rows_of_deal(spec),
        limit=spec.limit,
        trickles=source.size_bytes is None,
    )
    chunk_bytes = LARGE_CHUNK_BYTES if in_large_parts(spec) else CHUNK_BYTES
    items = source.dealt(LinesOrRows(lines, blocks), chunk_bytes)
    return rows.dealt(_limited(items, spec.limit))


async def begin_work(
    parts: Parts, operation: Operation, items: AsyncIterator[Item], stack: AsyncExitStack
) -> tuple[Work, AsyncGenerator[Lot, None]]:
    """What does the rows, and the lots that come of it. Raises ConfigError."""
    if parts.spec.processes > 1:
        team = await stack.enter_async_context(hired(_team(parts)))
        return team, team.run(items)
    engine = Engine(
        operation,
        quotas=parts.quotas,
        retry=parts.spec.retry_policy(),
        options=parts.spec.engine_options(),
        tally=parts.tally,
    )
    own = OwnWork(engine, parts.sink)
    return own, own.run(_rows(items))


def _team(parts: Parts) -> Team:
    spec, source = parts.spec, parts.source
    job = MemberJob(
        spec=spec,
        number=1,
        server=parts.connection.server,
        format=parts.sink.format,
        columns=parts.sink.columns,
        limited=limited(parts.quotas),
        by_deal=spec.ordered,
    )
    saw = source.saw if isinstance(source, StreamSource) else lambda names: None
    told = Told(blocks=parts.rows.note_blocks, fields=saw)
    return Team(job, quotas=parts.quotas, tally=parts.tally, told=told, copies=parts.copies)


async def _rows(items: AsyncIterator[Item]) -> AsyncIterator[Batch]:
    async for item in items:
        if isinstance(item, LineBlock):
            raise TypeError("lines are for other processes to read")
        yield item


async def _limited(items: AsyncIterator[Item], limit: int | None) -> AsyncIterator[Item]:
    left = limit
    async for item in items:
        rows = item.rows if isinstance(item, LineBlock) else len(item)
        if left is not None and rows >= left:
            # Lines are cut where they are split.
            yield item if isinstance(item, LineBlock) else item[:left]
            return
        yield item
        left = None if left is None else left - rows
