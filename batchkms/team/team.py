"""The parent's part: rows are dealt to members, and what they make of them is gathered.

    source ──▶ window ──▶ deals ──▶ members ──▶ outbox ──▶ whoever iterates

The window counts every row from when it is dealt until its result was written, so that memory is
bounded whatever the members do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from batchkms.blockdigest import BLOCK_ROWS
from batchkms.engine import Batch
from batchkms.errors import BatchKmsError, InputBroken, RunStopped
from batchkms.failurerules import FailureRules
from batchkms.job import JobSpec
from batchkms.kms.requestids import RequestIds
from batchkms.quota import Quotas
from batchkms.runs.lots import Lot
from batchkms.sources.lineblocks import LineBlock
from batchkms.tally import Tally
from batchkms.team.counts import Calls, Counts
from batchkms.team.job import MemberJob, in_large_parts, rows_under_way, share
from batchkms.team.member import ENDS_WITHIN_S, Deal, Member, MemberCopy
from batchkms.team.messages import Digests, Kind
from batchkms.team.outbox import DealWindow, Outbox

_MOST_DEAL_ROWS, _MOST_LARGE_DEAL_ROWS = 512, 2048
_DEALS_OF_EACH = 4
"""So many deals, or more, is a member to have before it: there is always one to go on with."""

Item = Batch | LineBlock


def rows_of_deal(spec: JobSpec) -> int:
    """How many rows to deal at once."""
    most = _MOST_LARGE_DEAL_ROWS if in_large_parts(spec) else _MOST_DEAL_ROWS
    return min(most, max(1, rows_under_way(spec) // (spec.processes * _DEALS_OF_EACH)))


class _Made(NamedTuple):
    """A lot that a member has made."""

    member: Member
    rows: int
    lot: Lot


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who is told of what members have read: the digests of blocks, and the fields seen."""

    blocks: Callable[[int, int, bytes], None]
    fields: Callable[[Sequence[str]], None]


class Team:
    """Implements `runs.lots.Work` by several processes. Use it once."""

    def __init__(
        self,
        job: MemberJob,
        *,
        quotas: Quotas,
        tally: Tally,
        told: Told,
        copies: Sequence[MemberCopy],
    ) -> None:
        self.tally = tally
        spec = job.spec
        count = spec.processes
        options = spec.engine_options()
        self.members = [
            Member(number, count, quotas=quotas, listener=self, copy=each)
            for number, each in enumerate([*copies] or [None] * count, 1)
        ]
        self._job = job
        self._quotas = quotas
        self._told = told
        self._concurrency = options.concurrency
        self._deal_rows = rows_of_deal(spec)
        self._window = DealWindow(rows_under_way(spec), options.queue_bytes)
        self._outbox = Outbox[_Made](ordered=options.ordered)
        self._rules = FailureRules(options.max_failures, tally)
        self._request_ids = RequestIds()
        self._deals = 0
        self._last: Member | None = None
        self._producer: asyncio.Task[None] | None = None
        self._draining = False
        self._grace_s = options.drain_grace_s + ENDS_WITHIN_S
        self._killing: asyncio.TimerHandle | None = None
        self._stopped_by: BaseException | None = None
        self._source_error: BaseException | None = None

    async def start(self) -> None:
        """Starts every member. Raises what one of them cannot begin with."""
        await asyncio.gather(
            *(m.start(replace(self._job, number=m.number).packed()) for m in self.members)
        )
        try:
            await asyncio.gather(*(member.ready for member in self.members))
        except RunStopped as error:
            # One that was ready may have died before, for which this one was killed.
            raise (self._stopped_by or error) from None
        if self._stopped_by is not None:
            # A member has died while others began.
            raise self._stopped_by

    async def aclose(self) -> None:
        """Ends every member."""
        if self._killing is not None:
            self._killing.cancel()
        await asyncio.gather(*(member.aclose() for member in self.members))

    @property
    def queued(self) -> int:
        """Records that wait for a worker of their member."""
        return sum(member.last_calls.queued for member in self.members)

    @property
    def outage(self) -> bool:
        """Whether a member waits for a service that answers nobody."""
        return any(member.last_calls.outage for member in self.members)

    @property
    def drained(self) -> bool:
        """Whether `drain` ended the run before its input did."""
        return self._draining and not (self.tally.exhausted and self.tally.done == self.tally.rows)

    def set_concurrency(self, workers: int) -> None:
        """Works with so many calls in flight from now on, in the limits that quotas have now."""
        self._window.widen(workers - self._concurrency)
        self._concurrency = workers
        for member in self.members:
            # Both are changed together, when the job file was read again.
            member.tell(Kind.LIMITS, limited(self._quotas))
            part = share(workers, member.number, len(self.members))
            member.tell(Kind.CONCURRENCY, part)

    async def run(self, batches: AsyncIterator[Item]) -> AsyncGenerator[Lot, None]:
        """Yields the results as they come. After the last one, raises what stopped the run.

        Rows may come as lines, of which members make rows.
        """
        producer = self._producer = asyncio.create_task(self._produce(batches))
        ending = asyncio.create_task(self._end_output(producer))
        try:
            while made := await self._outbox.take():
                for member, rows, lot in made:
                    yield lot
                    self._window.leave(rows, member.written(rows))
            if error := self._stopped_by or self._source_error:
                raise error
        finally:
            for task in (ending, producer):
                task.cancel()
            await asyncio.gather(ending, producer, return_exceptions=True)

    def drain(self) -> None:
        """Takes no more rows and lets what is in flight end, within the members' grace time."""
        if not self._draining:
            self._draining = True
            self._close(Kind.DRAIN)

    def stop(self, error: BaseException) -> None:
        """Ends the run for this error: calls under way are finished, nothing is begun."""
        if self._stopped_by is None:
            self._stopped_by = error
            self._close(Kind.STOP)

    def results(self, member: Member, lot: Lot, counts: Counts, deal: Deal) -> None:
        """See `team.member.Listener`."""
        rows = counts.rows
        if self._request_ids.repeated(counts.request_ids) is not None:
            # One of the two is another row's; neither this lot nor what follows it is kept.
            self.stop(_answered_twice())
        if isinstance(self._stopped_by, AnsweredTwice):
            return
        counts.add_to(self.tally)
        self._outbox.put(deal.number, _Made(member, rows, lot), last=not deal.not_back)
        failures = [(f.seq, f.code, f.message) for f in counts.failures]
        if error := self._rules.broken_by(failures):
            self.stop(error)

    def digests(self, digests: Digests) -> None:
        """See `team.member.Listener`."""
        for blocks in digests.blocks:
            self._told.blocks(*blocks)
        if digests.seen:
            self._told.fields(digests.seen)

    def calls(self, calls: Calls) -> None:
        """See `team.member.Listener`."""
        calls.add_to(self.tally)
        self.tally.in_flight = sum(member.last_calls.in_flight for member in self.members)

    def failed(self, error: BatchKmsError) -> None:
        """See `team.member.Listener`."""
        self.stop(error)

    def _close(self, kind: Kind) -> None:
        if self._producer is not None:
            self._producer.cancel()
        for member in self.members:
            member.tell(kind)
        if self._killing is None:
            loop = asyncio.get_running_loop()
            self._killing = loop.call_later(self._grace_s, self._kill_rest)

    def _kill_rest(self) -> None:
        """Ends members that have not ended by themselves: they hang, or were stopped."""
        for member in self.members:
            member.kill(after_s=self._grace_s)

    async def _produce(self, batches: AsyncIterator[Item]) -> None:
        try:
            if self._draining or self._stopped_by:
                return
            async for item in batches:
                for part in self._parts(item):
                    await self._deal(part)
            self.tally.exhausted = True
        except asyncio.CancelledError:
            if not (self._draining or self._stopped_by):
                self._source_error = InputBroken("reading the input was cancelled from outside")
            raise
        except Exception as error:
            # Raised again where results are read, after those of the rows before it.
            self._source_error = error
        finally:
            for member in self.members:
                member.tell(Kind.NO_MORE)

    def _parts(self, item: Item) -> Iterator[Item]:
        if isinstance(item, LineBlock):
            yield item
            return
        for begin in range(0, len(item), self._deal_rows):
            yield item[begin : begin + self._deal_rows]

    async def _deal(self, item: Item) -> None:
        if isinstance(item, LineBlock):
            rows, size_bytes = item.rows, item.size_bytes
        else:
            rows, size_bytes = len(item), sum(row.size_bytes for row in item)
        await self._window.enter(rows, size_bytes)
        if self._rules.wants_first:
            self._rules.begun(_seqs(item))
        self.tally.rows += rows
        self._deals += 1
        self._last = self._next(item)
        self._last.deal(self._deals, item, rows, size_bytes)

    def _next(self, item: Item) -> Member:
        """Who is dealt this: whoever has least to do, unless it goes on with the last one's."""
        if isinstance(item, LineBlock) and item.rows_before % BLOCK_ROWS and self._last is not None:
            return self._last
        return min(self.members, key=lambda member: member.not_written)

    async def _end_output(self, producer: asyncio.Task[None]) -> None:
        await asyncio.wait([producer])
        for member in self.members:
            await member.ended.wait()
        self._outbox.end()


class AnsweredTwice(RunStopped):
    """An answer has come to two processes."""


def _answered_twice() -> AnsweredTwice:
    return AnsweredTwice(
        "an answer has come twice, to two processes: something between here and the service "
        "sends answers again, and one of the two rows would have the other one's",
        hint="go on with --resume --processes 1: one process tells such answers apart and asks "
        "again; look at the gateway or proxy",
    )


def limited(quotas: Quotas) -> dict[str, bool]:
    """Which groups have a limit."""
    return {str(group): quotas[group].per_second is not None for group in quotas}


def _seqs(item: Item) -> list[int]:
    if isinstance(item, LineBlock):
        return [*range(item.rows_before + 1, item.rows_before + 1 + item.rows)]
    return [row.seq for row in item]


@asynccontextmanager
async def hired(team: Team) -> AsyncGenerator[Team, None]:
    """The members of a team run meanwhile. Raises what one of them cannot begin with."""
    try:
        await team.start()
        yield team
    finally:
        await team.aclose()
