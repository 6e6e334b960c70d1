"""Several processes that make the calls of one load test together, told and heard from here.

Each makes its share of one schedule, from one common first moment: the monotonic clock is the same
for all processes of a machine. Every call comes here when it has ended, so that figures, SLOs,
files and the search are what they are for one process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from batchkms.childprocess import ChildProcess, ending_text
from batchkms.errors import ConfigError, RunStopped
from batchkms.kms.credentials import Credentials
from batchkms.kms.requestids import RequestIds
from batchkms.latency import Latencies
from batchkms.loadtest import teamwire as wire
from batchkms.loadtest.call import Call
from batchkms.loadtest.dials import Dials
from batchkms.loadtest.runrecord import ConnectionsRecord, GeneratorRecord
from batchkms.loadtest.schedule import Schedule
from batchkms.records import ErrorClass

MODULE = "batchkms.cli.loadprocess"

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 10.0
"""From when it was told to end; connections of a server that stalls are given up sooner."""

SILENT_FOR_S = 10.0
"""A process that was told to stop and is silent for so long hangs: they speak all the time."""


class _Member:
    """One of the processes, and what it said last. `number` counts from 1."""

    def __init__(self, number: int, of: int) -> None:
        self.name = f"process {number} of {of}"
        self.process: ChildProcess | None = None
        self.said: asyncio.Queue[wire.Heard | None] = asyncio.Queue()
        """What it said but for `Calls`, and None once it is gone."""
        self.state = wire.Calls([], 0.0, 0, 0, 0.0)
        self.report: wire.Report | None = None
        self.heard_s = 0.0
        self.gone = False

    def tell(self, message: wire.Told) -> None:
        """Says something to it."""
        if self.process is not None and not self.gone:
            self.process.send(wire.encode(message))

    async def answer(self) -> wire.Heard | None:
        """What it says next; None if it is gone."""
        return None if self.gone and self.said.empty() else await self.said.get()


class Team:
    """Makes the calls of a run in several processes, as `OwnCaller` does in one; see `Caller`.

    `late_after_s` is what counts as late.
    """

    def __init__(self, processes: int, *, late_after_s: float) -> None:
        self._members = [_Member(number, processes) for number in range(1, 1 + processes)]
        self._late_after_s = late_after_s
        self._request_ids = RequestIds()
        self._record: Callable[[Call], None] = lambda call: None
        self._fail: Callable[[RunStopped], None] = lambda error: None
        self._lost: list[str] = []
        self._losing: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._told_to_end = False

    async def start(self, orders: Sequence[wire.Orders]) -> None:
        """Starts them all and waits until they are ready. Raises ConfigError."""
        for member in self._members:
            member.process = await ChildProcess.start(
                MODULE, on_frame=partial(self._heard, member), on_end=partial(self._ended, member)
            )
        for member, order in zip(self._members, orders, strict=True):
            member.tell(order)
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                for answer in [await member.answer() for member in self._members]:
                    _check_ready(answer)
        except TimeoutError:
            raise _not_started() from None

    async def aclose(self) -> None:
        """Ends those that are left."""
        self._told_to_end = True
        if self._stopping is not None:
            self._stopping.cancel()
        await asyncio.gather(*self._losing)
        processes = [member.process for member in self._members if member.process is not None]
        await asyncio.gather(*(process.ended(ENDED_WITHIN_S) for process in processes))

    def renew(self, credentials: Credentials) -> None:
        """What signs calls from now on."""
        self._tell_all(wire.Renewed(credentials))

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [member.process.pid for member in self._members if member.process is not None]

    # -- As one caller ---------------------------------------------------------------------------

    @property
    def under_way(self) -> int:
        """Calls that have not ended, as far as was heard."""
        return sum(member.state.under_way for member in self._members)

    @property
    def open_connections(self) -> int:
        """Connections that are open now, of all of them."""
        return sum(member.state.open_connections for member in self._members)

    @property
    def lag_now_s(self) -> float:
        """How late the event loop is that is latest."""
        return max(member.state.lag_s for member in self._members)

    @property
    def blocked_s(self) -> float:
        """For how long calls of the one that waited most had no connection."""
        return max((report.generator.blocked_s for report in self._reports), default=0.0)

    def begin(
        self, zero_s: float, record: Callable[[Call], None], fail: Callable[[RunStopped], None]
    ) -> None:
        """The first call is due at this time; `record` is given every call, in no order."""
        self._record, self._fail = record, fail
        self._tell_all(wire.Begin(zero_s))
        if self._lost:
            self._fail_for_loss()

    async def attack(self, schedule: Schedule | None) -> None:
        """Each makes its calls of the schedule, or of the closed model, until all have ended."""
        self._tell_all(wire.Attack(None if schedule is None else list(schedule.stages)))
        await self._answers()

    async def step(self, schedule: Schedule, *, offset_s: float) -> bool:
        """The same for one step of a search; whether all of them kept up."""
        self._tell_all(wire.MakeStep(list(schedule.stages), offset_s))
        answers = await self._answers()
        return all(isinstance(answer, wire.Landed) and answer.kept_up for answer in answers)

    def stop(self) -> None:
        """Begins no more calls; those under way end."""
        self._tell_all(wire.Stop())
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._kill_silent())

    def settled_s(self) -> float:
        """Every call that was due before this moment has ended and has come here."""
        left = [member.state.settled_s for member in self._members if not member.gone]
        return min(left, default=math.inf if self._lost else 0.0)

    async def end(self) -> None:
        """Has them report: the figures are final."""
        self._tell_all(wire.End())
        await self._answers()
        await asyncio.gather(*self._losing)

    def connections(self) -> ConnectionsRecord:
        """The connections of all. The most at once is no more than this, the sum of the mosts."""
        dials = Dials()
        for report in self._reports:
            dials.opened += report.opened
            dials.most += report.most_connections
            dials.connect.add(report.connect.unpacked())
            dials.tls.add(report.tls.unpacked())
        return dials.record()

    def generator(self) -> GeneratorRecord:
        """How they did: CPU time of all together, lags and waits of the one that was worst."""
        records = [report.generator for report in self._reports]
        late = Latencies.together(report.lateness.unpacked() for report in self._reports)

        def worst(name: str) -> float:
            return max((getattr(record, name) for record in records), default=0.0)

        return GeneratorRecord(
            cpu_share=round(sum(record.cpu_share for record in records), 4),
            late=late.share_over(self._late_after_s),
            late_p99_ms=late.percentile_ms(99),
            late_max_ms=late.max_ms,
            lag_p99_ms=worst("lag_p99_ms"),
            lag_max_ms=worst("lag_max_ms"),
            blocked_s=worst("blocked_s"),
            processes=len(self._members),
        )

    def faults(self, *, closed: bool) -> list[str]:
        """Why the figures are not the server's: what one of them had makes the whole not valid."""
        return [*self._lost, *self._named(lambda report: report.faults)]

    def notes(self) -> list[str]:
        """What is worth knowing, though the figures are the server's."""
        return self._named(lambda report: report.notes)

    # -- What comes ------------------------------------------------------------------------------

    @property
    def _reports(self) -> list[wire.Report]:
        return [member.report for member in self._members if member.report is not None]

    def _named(self, said: Callable[[wire.Report], list[str]]) -> list[str]:
        return [
            f"{member.name}: {text}"
            for member in self._members
            if member.report is not None
            for text in said(member.report)
        ]

    def _tell_all(self, message: wire.Told) -> None:
        for member in self._members:
            member.tell(message)

    async def _answers(self) -> list[wire.Heard | None]:
        return [await member.answer() for member in self._members]

    async def _kill_silent(self) -> None:
        """Whoever has stopped a test must not wait for a process that hangs, or was stopped."""
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(SILENT_FOR_S / 10)
            for member in self._members:
                silent_s = time.monotonic() - max(member.heard_s, began_s)
                if silent_s > SILENT_FOR_S and member.process is not None and not member.gone:
                    member.process.kill()

    def _heard(self, member: _Member, frame: bytes) -> None:
        member.heard_s = time.monotonic()
        message = wire.decode_heard(frame)
        if isinstance(message, wire.Calls):
            for call in message.calls:
                self._record(self._checked(call))
            message.calls = []
            member.state = message
            return
        if isinstance(message, wire.Report):
            member.report = message
        member.said.put_nowait(message)

    def _checked(self, call: Call) -> Call:
        """The call; a failed one if its RequestId has come to another process before.

        Each process has seen that no answer has come to it twice.
        """
        if call.request_id is None or self._request_ids.is_new(call.request_id):
            return call
        return msgspec.structs.replace(
            call, outcome=str(ErrorClass.PROTOCOL), code="RepeatedRequestId", request_id=None
        )

    def _ended(self, member: _Member) -> None:
        """The socket of one has ended, as it must not before it has reported."""
        member.gone = True
        member.state = wire.Calls([], member.state.settled_s, 0, 0, 0.0)
        member.said.put_nowait(None)
        if member.process is not None and not self._told_to_end and member.report is None:
            self._losing.append(asyncio.create_task(self._lose(member, member.process)))

    async def _lose(self, member: _Member, process: ChildProcess) -> None:
        code = await process.ended(ENDED_WITHIN_S)
        self._lost.append(
            f"{member.name} {ending_text(code)}: what it had measured last is not in the figures"
        )
        self._fail_for_loss()

    def _fail_for_loss(self) -> None:
        self._fail(
            RunStopped(
                self._lost[0],
                hint="the line above may say why; else free some memory, or ask for fewer with "
                "--processes",
            )
        )


@asynccontextmanager
async def running_team(orders: Sequence[wire.Orders]) -> AsyncIterator[Team]:
    """The processes of a test, ready to begin; they are ended in the end. Raises ConfigError."""
    team = Team(len(orders), late_after_s=orders[0].lag_limit_s)
    try:
        await team.start(orders)
        yield team
    finally:
        await team.aclose()


def _check_ready(answer: wire.Heard | None) -> None:
    """Raises ConfigError."""
    if isinstance(answer, wire.Refused):
        raise ConfigError(answer.message, hint=answer.hint)
    if answer is None:
        raise _not_started()


def _not_started() -> ConfigError:
    return ConfigError(
        "a process of this test could not be started",
        hint="the line above may say why; or ask for fewer with --processes",
    )
