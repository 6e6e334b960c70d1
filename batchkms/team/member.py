"""One process of a team, as its parent sees it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from batchkms.childprocess import ChildProcess, ending_text
from batchkms.engine import Batch
from batchkms.errors import BatchKmsError, RunStopped
from batchkms.forks import Fork
from batchkms.quota import Group, Quotas
from batchkms.runs.lots import Lot
from batchkms.sources.lineblocks import LineBlock
from batchkms.team.counts import Calls, Counts
from batchkms.team.messages import (
    Digests,
    Failed,
    Kind,
    decode,
    encode,
    head,
    lines_parts,
    read_frame,
    read_results,
    rows_part,
)
from batchkms.team.permits import Granter
from batchkms.team.ring import Memory, RingReader, RingWriter

MODULE = "batchkms.cli.memberprocess"

ENDS_WITHIN_S = 5.0
"""A process that was told to end and has not by then is killed."""


class Deal(msgspec.Struct):
    """What was dealt together: as which one, and how many rows of it are not back or written."""

    number: int
    size_bytes: int
    not_back: int
    not_written: int


class Listener(Protocol):
    """Who is told what comes from a member."""

    def results(self, member: Member, lot: Lot, counts: Counts, deal: Deal) -> None:
        """Rows are done; with `by_deal` they are all of this deal."""

    def digests(self, digests: Digests) -> None:
        """Blocks of rows were read."""

    def calls(self, calls: Calls) -> None:
        """Calls were made."""

    def failed(self, error: BatchKmsError) -> None:
        """The member cannot go on."""


class MemberCopy(NamedTuple):
    """A copy of this process, made to be a member, and the memory that it shares with this one."""

    fork: Fork
    memory: Memory | None


class Member:
    """A process with an engine of its own, a `copy` of this one or one to be started.

    `ready` and `ended` are done then.
    """

    def __init__(
        self, number: int, of: int, *, quotas: Quotas, listener: Listener, copy: MemberCopy | None
    ) -> None:
        self.number = number
        self.last_calls = Calls()
        self.not_written = 0
        """Rows that it was dealt, less those whose results were written."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self._copy = copy
        self._name = f"process {number} of {of}"
        self._quotas = quotas
        self._listener = listener
        self._granter = Granter(quotas, give=self._give)
        self._deals: deque[Deal] = deque()
        self._back: deque[Deal] = deque()
        self._process: ChildProcess | None = None
        self._lines: RingWriter | None = None
        self._results: RingReader | None = None
        self._told_end = False
        self._killed_after_s: float | None = None
        self._burying: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The number of its process."""
        return None if self._process is None else self._process.pid

    async def start(self, job: bytes) -> None:
        """Starts it, if it does not run yet, and tells it its job."""
        copy = self._copy
        start = partial(ChildProcess.start, MODULE)
        if copy is not None:
            start = partial(ChildProcess.of, copy.fork, copy.fork.connection)
            if copy.memory is not None:
                self._lines = RingWriter(copy.memory.lines)
                self._results = RingReader(copy.memory.results)
        self._process = await start(on_frame=self._on_frame, on_end=self._lost)
        self._send(Kind.JOB, job)

    def deal(self, number: int, item: Batch | LineBlock, rows: int, size_bytes: int) -> None:
        """Gives it rows to do."""
        deal = Deal(number, size_bytes, rows, rows)
        self._deals.append(deal)
        self._back.append(deal)
        self.not_written += rows
        if isinstance(item, LineBlock):
            self._send(Kind.LINES, *lines_parts(item, self._lines))
        else:
            self._send(Kind.ROWS, rows_part(item))

    def kill(self, *, after_s: float) -> None:
        """Ends a process that does not end by itself, so long after it was told to."""
        if self._process is not None and not self.ended.is_set():
            self._killed_after_s = after_s
            self._process.kill()

    def written(self, rows: int) -> int:
        """So many of its rows were written; the bytes of deals that are done with that."""
        self.not_written -= rows
        size_bytes = 0
        while rows:
            deal = self._deals[0]
            part = min(rows, deal.not_written)
            deal.not_written -= part
            rows -= part
            if not deal.not_written:
                size_bytes += self._deals.popleft().size_bytes
        return size_bytes

    def tell(self, kind: Kind, content: object = None) -> None:
        """Tells it something that needs no answer."""
        self._send(kind, *([] if content is None else [encode(content)]))

    async def aclose(self) -> None:
        """Ends the process, if it has not ended by itself."""
        self._granter.close()
        self._told_end = True
        if self._process is not None:
            await self._process.ended(ENDS_WITHIN_S)

    def _send(self, kind: Kind, *parts: bytes | memoryview) -> None:
        if self._process is not None:
            self._process.send(head(kind), *parts)

    def _on_frame(self, frame: bytes) -> None:
        self._received(*read_frame(frame))

    def _received(self, kind: Kind, payload: memoryview) -> None:
        if kind is Kind.RESULTS:
            self._take_results(payload)
        elif kind is Kind.WANTED:
            group, first_tries, retries = decode(payload)
            self._granter.want(Group(group), first_tries, retries)
        elif kind is Kind.THROTTLED:
            self._quotas[Group(decode(payload))].throttled()
        elif kind is Kind.DIGESTS:
            self._listener.digests(msgspec.msgpack.decode(payload, type=Digests))
        elif kind is Kind.STATUS:
            self.last_calls = msgspec.msgpack.decode(payload, type=Calls)
            self._listener.calls(self.last_calls)
        elif kind is Kind.READY and not self.ready.done():
            self.ready.set_result(None)
        elif kind is Kind.ENDED:
            self._end(msgspec.msgpack.decode(payload, type=Failed | None))

    def _take_results(self, payload: memoryview) -> None:
        lot, counts = read_results(payload, self._results)
        rows, deal = counts.rows, self._back[0]
        while rows:
            part = min(rows, self._back[0].not_back)
            self._back[0].not_back -= part
            rows -= part
            if not self._back[0].not_back:
                self._back.popleft()
        self._listener.results(self, lot, counts, deal)

    def _give(self, group: Group, permits: int) -> None:
        self._send(Kind.PERMITS, encode((group, permits, time.monotonic())))

    def _end(self, failed: Failed | None) -> None:
        self._told_end = True
        self._granter.close()
        if failed is not None:
            self._fail(failed.error())
        self.ended.set()

    def _fail(self, error: BatchKmsError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
        else:
            self._listener.failed(error)

    def _lost(self) -> None:
        if not self._told_end:
            self._burying = asyncio.create_task(self._bury())

    async def _bury(self) -> None:
        """Tells how a process died that was to go on."""
        code = 0 if self._process is None else await self._process.ended(ENDS_WITHIN_S)
        self._granter.close()
        self._fail(self._death(code))
        self.ended.set()

    def _death(self, code: int) -> RunStopped:
        if self._killed_after_s is not None:
            return RunStopped(
                f"{self._name} had not ended {self._killed_after_s:g} s after it was told to, and "
                "was killed",
                hint="go on with --resume",
            )
        return RunStopped(
            f"{self._name} {ending_text(code)} in the middle of its work",
            hint="go on with --resume, if memory was short with fewer --processes",
        )
