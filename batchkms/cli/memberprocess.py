"""A member of the team that does the rows of a run.

    python -m batchkms.cli.memberprocess FD

It begins with the job that comes over its socket, and ends at once when the socket does, which it
does with the parent, however that dies. Signals are the parent's affair.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import traceback
from collections import deque
from contextlib import AsyncExitStack, aclosing
from functools import partial

from batchkms.childprocess import Frames, first_frame, leave_signals_to_parent
from batchkms.cli.batchloop import spare_the_collector
from batchkms.cli.connect import connect_member
from batchkms.cli.inputs import lines_of_input
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.operations import make_operation
from batchkms.engine import Engine
from batchkms.errors import BatchKmsError, RunStopped
from batchkms.quota import Group
from batchkms.records import Result
from batchkms.runs.lots import Lot, encoded
from batchkms.sinks import sink_of
from batchkms.team.counts import Counts, MemberTally
from batchkms.team.inbox import Inbox
from batchkms.team.job import MemberJob, in_large_parts
from batchkms.team.messages import (
    Digests,
    Failed,
    Kind,
    decode,
    encode,
    head,
    read_frame,
    read_lines,
    read_rows,
    results_parts,
)
from batchkms.team.permits import RemoteQuotas
from batchkms.team.ring import Memory, RingReader, RingWriter

TELL_EVERY_S = 0.25
"""How often the counts of calls are told, if they have changed."""


HELD_ROWS, LARGE_HELD_ROWS, HELD_S = 512, 1024, 0.02
"""Results are given back so many together, unless they have waited so long: each time wakes the
parent up, which is to be writing."""


class _StoppedByParent(RunStopped):
    """The parent knows why."""


class MemberProcess:
    """Does what comes over a socket, until no more will come."""

    def __init__(self, job: MemberJob, memory: Memory | None) -> None:
        self._job = job
        self._lines = None if memory is None else RingReader(memory.lines)
        self._results = None if memory is None else RingWriter(memory.results)
        self._frames = Frames(self._on_frame, self._gone)
        self._sink = sink_of(job.format, job.columns[:])
        self._tally = MemberTally()
        self._inbox = Inbox(partial(lines_of_input, job.spec), self._tell_digests)
        self._deals: deque[int] = deque()
        self._calls_told = 0
        self._held: list[tuple[Lot, Counts]] = []
        self._held_rows = 0
        self._most_held = LARGE_HELD_ROWS if in_large_parts(job.spec) else HELD_ROWS
        self._giving: asyncio.TimerHandle | None = None
        self._ended = False
        self._early: list[tuple[Kind, bytes]] = []
        """What was said before there was an engine."""
        self._quotas: RemoteQuotas | None = None
        self._engine: Engine | None = None

    async def run(self, connection: socket.socket) -> None:
        """Does all of it, and tells how it came out."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._frames, sock=connection)
        failed: Failed | None = None
        try:
            await self._work()
        except _StoppedByParent:
            pass
        except BatchKmsError as error:
            failed = Failed.of(error)
        except Exception as error:
            failed = Failed.of(_defect(error))
        self._give_held()
        self._tell_calls()
        self._ended = True
        self._send(Kind.ENDED, encode(failed))
        self._frames.close()
        # `_gone` ends the process once all was sent.
        await loop.create_future()

    def _gone(self) -> None:
        os._exit(0 if self._ended else 1)

    async def _work(self) -> None:
        job = self._job
        async with AsyncExitStack() as stack:
            connection = await connect_member(job.spec, job.server, stack)
            operation = await make_operation(job.spec, connection, stack)
            self._quotas = RemoteQuotas(
                operation.groups, ask=self._ask, throttled=self._tell_throttled
            )
            self._limit(job.limited)
            stack.push_async_callback(self._quotas.aclose)
            self._engine = Engine(
                operation,
                quotas=self._quotas,
                retry=job.spec.retry_policy(),
                options=job.engine_options(),
                tally=self._tally,
            )
            for kind, payload in self._early:
                self._told(kind, memoryview(payload), self._engine)
            telling = asyncio.create_task(self._keep_telling())
            stack.callback(telling.cancel)
            self._send(Kind.READY)
            async with aclosing(self._engine.run(self._inbox.batches())) as lots:
                async for results in lots:
                    self._give(results)

    def _send(self, kind: Kind, *parts: bytes | memoryview) -> None:
        self._frames.send(head(kind), *parts)

    def _on_frame(self, frame: bytes) -> None:
        self._received(*read_frame(frame))

    def _received(self, kind: Kind, payload: memoryview) -> None:
        if kind is Kind.LINES:
            block = read_lines(payload, self._lines)
            self._deals.append(block.rows)
            self._inbox.put(block)
        elif kind is Kind.ROWS:
            rows = read_rows(payload)
            self._deals.append(len(rows))
            self._inbox.put(rows)
        elif kind is Kind.PERMITS and self._quotas is not None:
            group, permits, taken_s = decode(payload)
            # The clock is one for all processes of a machine.
            age_s = time.monotonic() - taken_s
            self._quotas.remote(Group(group)).give(permits, age_s=age_s)
        elif kind is Kind.LIMITS:
            self._limit(decode(payload))
        elif kind is Kind.NO_MORE:
            self._inbox.end()
        elif self._engine is not None:
            self._told(kind, payload, self._engine)
        else:
            self._early.append((kind, bytes(payload)))

    def _told(self, kind: Kind, payload: memoryview, engine: Engine) -> None:
        if kind is Kind.CONCURRENCY:
            engine.set_concurrency(decode(payload))
        elif kind is Kind.DRAIN:
            engine.drain()
        elif kind is Kind.STOP:
            engine.stop(_StoppedByParent("the run was stopped"))

    def _limit(self, limited: dict[str, bool]) -> None:
        if self._quotas is not None:
            self._quotas.limit({Group(name): is_limited for name, is_limited in limited.items()})

    def _give(self, results: list[Result]) -> None:
        """Gives results back, with `by_deal` no two deals in one lot."""
        if not self._job.by_deal:
            self._hold(results)
            # Nor where nothing is left to do: more may come only once these are back.
            if self._held_rows >= self._most_held or not (self._engine and self._engine.queued):
                self._give_held()
            elif self._giving is None:
                loop = asyncio.get_running_loop()
                self._giving = loop.call_later(HELD_S, self._give_held)
            return
        while results:
            rows = min(self._deals[0], len(results))
            self._hold(results[:rows])
            self._give_held()
            results = results[rows:]
            self._deals[0] -= rows
            if not self._deals[0]:
                self._deals.popleft()

    def _hold(self, results: list[Result]) -> None:
        self._held.append((encoded(results, self._sink), Counts.of(results)))
        self._held_rows += len(results)

    def _give_held(self) -> None:
        if self._giving is not None:
            self._giving.cancel()
            self._giving = None
        if not self._held:
            return
        # First: nowhere may more rows be done than calls made.
        if self._tally.calls != self._calls_told:
            self._tell_calls()
        lots, counts = zip(*self._held, strict=True)
        self._held, self._held_rows = [], 0
        self._send(Kind.RESULTS, *results_parts(lots, Counts.together(counts), self._results))

    def _ask(self, group: Group, first_tries: int, retries: int) -> None:
        self._send(Kind.WANTED, encode((group, first_tries, retries)))

    def _tell_throttled(self, group: Group) -> None:
        self._send(Kind.THROTTLED, encode(group))

    def _tell_digests(self, digests: Digests) -> None:
        if digests.blocks or digests.seen:
            self._send(Kind.DIGESTS, encode(digests))

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._tell_calls()

    def _tell_calls(self) -> None:
        engine, self._calls_told = self._engine, self._tally.calls
        queued, outage = (engine.queued, engine.outage) if engine is not None else (0, False)
        if (news := self._tally.news(queued=queued, outage=outage)) is not None:
            self._send(Kind.STATUS, encode(news))


def _defect(error: Exception) -> RunStopped:
    # The exception's own text is left out: it could quote a secret.
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[::-1])
    return RunStopped(
        f"internal error: {type(error).__name__} in {places}",
        hint="this is a defect of batchkms: please report this line; results written so far are "
        "kept",
    )


def main(fd: int, memory: Memory | None = None) -> None:
    """Does the job that comes over a socket; never returns."""
    leave_signals_to_parent()
    # Core dumps are off already: limits are inherited, and the parent has lowered its own.
    connection = socket.socket(fileno=fd)
    first = first_frame(connection)
    if first is None:
        os._exit(0)
    job = MemberJob.unpacked(read_frame(first)[1])
    log_to_stderr(level=job.spec.log_level, log_format=job.spec.log_format)
    spare_the_collector()
    loop_runner()(MemberProcess(job, memory).run(connection))


if __name__ == "__main__":
    main(int(sys.argv[1]))
