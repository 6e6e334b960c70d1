"""Who makes the calls of a load test: this process, or those of `--processes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from batchkms.cli.connect import Target
from batchkms.job import JobSpec
from batchkms.kms.http1.pool import Pool
from batchkms.loadtest import teamwire as wire
from batchkms.loadtest.caller import Caller
from batchkms.loadtest.contents import Payloads
from batchkms.loadtest.dials import Dials
from batchkms.loadtest.owncaller import OwnCaller
from batchkms.loadtest.plan import Plan
from batchkms.loadtest.team import running_team
from batchkms.loadtest.workload import Workload

Renew = Callable[[], Awaitable[None]]
"""Gives whoever makes the calls credentials that are valid now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What calls are made of. `most` connections there may be in all."""

    target: Target
    plan: Plan
    payloads: Payloads
    workload: Workload
    most: int


async def open_caller(spec: JobSpec, work: Work, stack: AsyncExitStack) -> tuple[Caller, Renew]:
    """Whoever makes the calls, ready to begin, and what renews the credentials.

    Raises ConfigError.
    """
    return await (_one if spec.processes == 1 else _several)(spec, work, stack)


async def _one(spec: JobSpec, work: Work, stack: AsyncExitStack) -> tuple[Caller, Renew]:
    dials = Dials()
    pool = Pool(
        work.target.endpoint,
        ca_file=spec.ca_file,
        connect_timeout_s=spec.connect_timeout,
        timeout_s=spec.timeout,
        max_connections=work.most,
        on_connected=lambda connected: dials.connected(connected, pool.open_connections),
    )
    stack.push_async_callback(pool.aclose)

    async def renew() -> None:
        work.workload.credentials = await work.target.credentials.credentials()

    return OwnCaller(work.plan, pool, work.workload, dials=dials), renew


async def _several(spec: JobSpec, work: Work, stack: AsyncExitStack) -> tuple[Caller, Renew]:
    orders = [_orders(spec, work, first) for first in range(spec.processes)]
    team = await stack.enter_async_context(running_team(orders))
    known = work.workload.credentials

    async def renew() -> None:
        nonlocal known
        credentials = await work.target.credentials.credentials()
        if credentials != known:
            known = credentials
            team.renew(credentials)

    return team, renew


def _orders(spec: JobSpec, work: Work, first: int) -> wire.Orders:
    plan, target, rows = work.plan, work.target, work.payloads.rows
    return wire.Orders(
        first=first,
        of=spec.processes,
        scheme=target.endpoint.scheme,
        host=target.endpoint.host,
        region=target.region,
        ca_file=spec.ca_file,
        connect_timeout_s=spec.connect_timeout,
        timeout_s=spec.timeout,
        max_connections=work.most,
        closed=plan.closed,
        concurrency=plan.concurrency,
        duration_s=plan.duration_s,
        warmup_s=plan.warmup_s,
        lag_limit_s=plan.lag_limit_s,
        grace_s=plan.grace_s,
        retry=plan.retry,
        mix=dict(work.workload.mix),
        payload_size=work.payloads.size.text,
        rows=None if rows is None else [row.packed() for row in rows.rows],
        signature=spec.signature,
        key_id=spec.key_id or target.demo_key_id,
        seed=work.workload.seed,
        credentials=work.workload.credentials,
        log_level=spec.log_level,
        log_format=spec.log_format,
    )
