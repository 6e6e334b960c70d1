"""One of the processes of `batchkms loadtest --processes`: makes calls as the test tells it.

It takes the end of a socket as its only argument, and ends when that does, however its parent died.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

from batchkms.childprocess import Frames, leave_signals_to_parent
from batchkms.cli.batchloop import spare_the_collector
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.main import tell_error
from batchkms.errors import ConfigError, RunStopped
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.http1.pool import Pool
from batchkms.kms.signedrequests import signed_requests
from batchkms.loadtest import teamwire as wire
from batchkms.loadtest.call import Call
from batchkms.loadtest.contents import Payloads
from batchkms.loadtest.dials import Dials
from batchkms.loadtest.owncaller import OwnCaller
from batchkms.loadtest.payload import parse_payload_size
from batchkms.loadtest.plan import Plan
from batchkms.loadtest.rows import Row, Rows
from batchkms.loadtest.schedule import Schedule
from batchkms.loadtest.share import Share
from batchkms.loadtest.workload import Workload

TELL_EVERY_S = 0.05
"""How often calls that have ended are told of."""

MOST_WAITING_BYTES = 64 * 1024 * 1024
"""What the test may leave unread; at 25,000 calls/s that is 20 s."""


class LoadProcess:
    """Does what the test says, and tells it of every call that has ended."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._calls: list[Call] = []
        self._doing: set[asyncio.Task[None]] = set()
        self._made: tuple[OwnCaller, Workload, Pool, Dials] | None = None
        self._closed = False

    def heard(self, frame: bytes) -> None:
        """Does what it is told, or begins to. A defect ends the process, which nobody waits for."""
        try:
            self._told(wire.decode_told(frame))
        except Exception as error:
            _end_for(error)

    def _told(self, message: wire.Told) -> None:
        if isinstance(message, wire.Orders):
            self._ready(message)
            return
        if self._made is None:
            raise RuntimeError("orders come first")
        caller, workload, pool, dials = self._made
        if isinstance(message, wire.Begin):
            caller.begin(message.zero_s, self._calls.append, lambda error: None)
            self._begin(self._keep_telling(caller))
        elif isinstance(message, wire.Attack):
            stages = message.stages
            self._begin(self._attack(caller, None if stages is None else Schedule(stages)))
        elif isinstance(message, wire.MakeStep):
            self._begin(self._step(caller, Schedule(message.stages), message.offset_s))
        elif isinstance(message, wire.Renewed):
            workload.credentials = message.credentials
        elif isinstance(message, wire.Stop):
            caller.stop()
        else:
            self._begin(self._end(caller, pool, dials))

    def _ready(self, orders: wire.Orders) -> None:
        log_to_stderr(level=orders.log_level, log_format=orders.log_format)
        try:
            self._made = made_for(orders)
        except ConfigError as error:
            self._say(wire.Refused(error.message, error.hint))
            return
        self._closed = orders.closed
        spare_the_collector()
        self._say(wire.Ready())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._doing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _end_for(error)

    async def _attack(self, caller: OwnCaller, schedule: Schedule | None) -> None:
        await caller.attack(schedule)
        self._tell(caller)
        self._say(wire.Landed(kept_up=True))

    async def _step(self, caller: OwnCaller, schedule: Schedule, offset_s: float) -> None:
        kept_up = await caller.step(schedule, offset_s=offset_s)
        self._tell(caller)
        self._say(wire.Landed(kept_up))

    async def _keep_telling(self, caller: OwnCaller) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._tell(caller)

    def _tell(self, caller: OwnCaller) -> None:
        # The moment is asked for before: what is begun since is not settled.
        settled_s = caller.settled_s()
        self._say(
            wire.Calls(
                self._calls,
                settled_s,
                caller.under_way,
                caller.open_connections,
                caller.lag_now_s,
            )
        )
        self._calls.clear()

    async def _end(self, caller: OwnCaller, pool: Pool, dials: Dials) -> None:
        await caller.end()
        self._say(
            wire.Report(
                generator=caller.generator(),
                lateness=wire.PackedLatencies.of(caller.lateness.calls),
                faults=caller.faults(closed=self._closed),
                notes=caller.notes(),
                opened=dials.opened,
                most_connections=dials.most,
                connect=wire.PackedLatencies.of(dials.connect),
                tls=wire.PackedLatencies.of(dials.tls),
            )
        )
        await pool.aclose()
        self._frames.close()

    def _say(self, message: wire.Heard) -> None:
        self._frames.send(wire.encode(message))
        if self._frames.waiting_bytes > MOST_WAITING_BYTES:
            _end_for(
                RunStopped(
                    "calls cannot be counted as fast as they end",
                    hint="give this machine more CPU, or lower the rate",
                )
            )


def made_for(orders: wire.Orders) -> tuple[OwnCaller, Workload, Pool, Dials]:
    """What makes the calls of these orders. Raises ConfigError."""
    share = Share(orders.first, orders.of)
    endpoint = Endpoint(orders.scheme, orders.host)
    rows = None if orders.rows is None else [Row.unpacked(row) for row in orders.rows]
    workload = Workload(
        mix=orders.mix,
        payloads=Payloads(
            size=parse_payload_size(orders.payload_size),
            rows=None if rows is None else Rows(rows, []),
        ),
        requests=signed_requests(endpoint, orders.region, method=orders.signature),
        key_id=orders.key_id,
        credentials=orders.credentials,
        seed=orders.seed,
        share=share,
    )
    dials = Dials()
    pool = Pool(
        endpoint,
        ca_file=orders.ca_file,
        connect_timeout_s=orders.connect_timeout_s,
        timeout_s=orders.timeout_s,
        max_connections=share.of_number(orders.max_connections),
        on_connected=lambda connected: dials.connected(connected, pool.open_connections),
    )
    plan = Plan(
        concurrency=orders.concurrency,
        duration_s=orders.duration_s,
        warmup_s=orders.warmup_s,
        retry=orders.retry,
        lag_limit_s=orders.lag_limit_s,
        grace_s=orders.grace_s,
    )
    return OwnCaller(plan, pool, workload, dials=dials, share=share), workload, pool, dials


async def _serve(number: int) -> None:
    frames = Frames(lambda frame: process.heard(frame), lambda: os._exit(0))
    process = LoadProcess(frames)
    end = socket.socket(fileno=number)
    await asyncio.get_running_loop().create_connection(lambda: frames, sock=end)
    await asyncio.Event().wait()


def _end_for(error: BaseException) -> NoReturn:
    os._exit(tell_error(error) if isinstance(error, Exception) else 1)


if __name__ == "__main__":
    leave_signals_to_parent()
    loop_runner()(_serve(int(sys.argv[1])))
