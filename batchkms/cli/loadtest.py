"""`batchkms loadtest`."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import click

from batchkms._version import __version__
from batchkms.childprocess import ending_text
from batchkms.cli.batchloop import spare_the_collector
from batchkms.cli.connect import Target, find_target
from batchkms.cli.inputs import open_input
from batchkms.cli.loadcaller import Work, open_caller
from batchkms.cli.loadfiles import LoadFiles
from batchkms.cli.loadplan import say_plan
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.main import command_options, printable
from batchkms.cli.metrics import load_metrics
from batchkms.cli.running import end_on_signals, signals_drain
from batchkms.cli.telling import told
from batchkms.errors import ConfigError, RunStopped
from batchkms.job import JobSpec, job_from
from batchkms.kms.signedrequests import signed_requests
from batchkms.loadtest.contents import Payloads
from batchkms.loadtest.display import LoadMeter
from batchkms.loadtest.loadtest import LoadTest
from batchkms.loadtest.mix import parse_mix
from batchkms.loadtest.payload import parse_payload_size
from batchkms.loadtest.plan import Plan
from batchkms.loadtest.rows import read_rows
from batchkms.loadtest.runrecord import RunRecord, StageRecord
from batchkms.loadtest.schedule import Schedule, Stage
from batchkms.loadtest.slo import parse_slo
from batchkms.loadtest.steps import DEFAULT_SLOS
from batchkms.loadtest.summary import LoadSummary
from batchkms.loadtest.workload import Workload
from batchkms.reporting.progress import shown

SPARE_FILES = 40
"""File descriptors for all else than connections."""


@click.command(short_help="Measure a KMS endpoint under load.")
@click.argument("input", required=False, metavar="[INPUT]")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("loadtest")
def loadtest(input: str | None, config: str | None, **flags: Any) -> None:
    """Makes calls at a rate that does not depend on the server, and measures what comes back.

    Latencies are measured from when each call was due, so that a server that stalls cannot hide
    it, and from when its first byte was sent. Nothing is tried again unless --max-attempts says
    so. With INPUT the calls encrypt its rows, or decrypt those of a result file; without it they
    encrypt random bytes (--payload-size).

    Calls count against the account's quota and are paid for like any others.

    Exit code 6 if an SLO does not hold, or if the generator was not able to make the calls when
    they were due: then the figures are its own and not the server's.
    """
    spec = job_from(
        command="loadtest", input_path=input, flags=flags, environ=os.environ, config=config
    )
    sys.exit(run_loadtest(spec))


def run_loadtest(spec: JobSpec) -> int:
    """Runs a load test and returns the exit code.

    Raises ConfigError and InputError before any call, OutputError when calls cannot be kept.
    """
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    if spec.dry_run:
        return say_plan(spec)
    return loop_runner()(_run(spec))


async def _run(spec: JobSpec) -> int:
    began_s = time.monotonic()
    end_on_signals()
    files = LoadFiles(spec)
    async with AsyncExitStack() as stack:
        target = await find_target(spec, stack)
        payloads = await _payloads(spec)
        workload = await _workload(spec, target, payloads)
        most, plan = _allowed_connections(spec), _plan(spec)
        work = Work(target=target, plan=plan, payloads=payloads, workload=workload, most=most)
        caller, renew = await open_caller(spec, work, stack)
        test = LoadTest(plan, caller, calls=files.calls, renew=renew)
        metrics = load_metrics(spec.metrics, test, tuple(parse_mix(spec.action)))
        await stack.enter_async_context(metrics)
        files.begin()
        stack.push_async_callback(files.abandon)
        spare_the_collector()
        error = await _attacked(spec, target, test)
        summary = LoadSummary(
            record=_record(spec, target, test, workload, most),
            statistics=test.statistics,
            wall_s=time.monotonic() - began_s,
            error=error,
        )
        summary = summary.with_exit_code()
        error = await files.end(summary.record, test.statistics, error)
    return told(files.named_in(replace(summary, error=error)), spec.summary, of="load test")


async def _attacked(spec: JobSpec, target: Target, test: LoadTest) -> RunStopped | None:
    """Runs the test; what ended it early, if anything but the user did."""
    meter = LoadMeter(printable(f"batchkms loadtest {target.endpoint.url}"), test)
    if target.lost is not None:
        target.lost.add_done_callback(lambda lost: test.fail(_emulator_lost(lost.result())))
    with signals_drain(test):
        async with shown(meter, spec.progress):
            try:
                await test.run()
            except RunStopped as error:
                return error
    return None


def _emulator_lost(exit_code: int) -> RunStopped:
    return RunStopped(
        f"the emulator of this test {ending_text(exit_code)}",
        hint="run the test again, or an emulator of your own: batchkms emulator",
    )


async def _payloads(spec: JobSpec) -> Payloads:
    """What calls are made of. Raises InputError for rows that cannot be sent."""
    return Payloads(
        size=parse_payload_size(spec.payload_size),
        rows=await read_rows(open_input(spec)) if spec.input else None,
    )


async def _workload(spec: JobSpec, target: Target, payloads: Payloads) -> Workload:
    """What is sent. Raises ConfigError."""
    return Workload(
        mix=parse_mix(spec.action),
        payloads=payloads,
        requests=signed_requests(target.endpoint, target.region, method=spec.signature),
        key_id=spec.key_id or target.demo_key_id,
        credentials=await target.credentials.credentials(),
        seed=spec.seed if spec.seed is not None else secrets.randbelow(2**53),
    )


def _plan(spec: JobSpec) -> Plan:
    slos = tuple(parse_slo(text) for text in spec.slos or ())
    if spec.stages is not None:
        schedule = Schedule([Stage(*stage) for stage in spec.stages])
    else:
        schedule = Schedule([Stage(spec.duration, float(spec.rate), float(spec.rate))])
    return Plan(
        schedule=None if spec.closed or spec.find_max else schedule,
        concurrency=spec.concurrency,
        duration_s=spec.duration,
        find_from=_begin_of_search(spec) if spec.find_max else None,
        find_most=None if spec.max_rate is None else float(spec.max_rate),
        warmup_s=spec.warmup or 0.0,
        slos=slos or (DEFAULT_SLOS if spec.find_max else ()),
        slo_window_s=spec.slo_window,
        abort_on_fail=spec.abort_on_fail,
        retry=spec.retry_policy(),
        lag_limit_s=spec.lag_limit,
        grace_s=spec.timeout,
    )


BEGIN_OF_SEARCH = 50.0
"""Calls per second that a search begins with."""


def _begin_of_search(spec: JobSpec) -> float:
    return float(spec.rate) if "rate" in spec.given else BEGIN_OF_SEARCH


def _allowed_connections(spec: JobSpec) -> int:
    """How many connections there may be: what was asked for, or what the system lets us have.

    Raises ConfigError where that is less than what was asked for in so many words.
    """
    wanted = spec.concurrency if spec.closed else spec.max_connections
    # Each process has a limit of its own.
    each = -(-wanted // spec.processes)
    allowed = _file_limit(each + SPARE_FILES) - SPARE_FILES
    if allowed >= each:
        return wanted
    asked_for = spec.closed or "max_connections" in spec.given
    if asked_for or allowed < 1:
        in_each = " in each process" if spec.processes > 1 else ""
        raise ConfigError(
            f"this system allows {max(0, allowed):,} connections{in_each}, and {each:,} are asked "
            "for",
            hint=f"raise its limit on open files to {each + SPARE_FILES:,} (ulimit -n), or ask "
            f"for less with {'--concurrency' if spec.closed else '--max-connections'}",
        )
    return allowed * spec.processes


def _file_limit(needed: int) -> int:
    """How many files may be open, after the limit was raised as far as it can be."""
    try:
        import resource
    except ImportError:
        return needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= reachable:
        return needed if soft == resource.RLIM_INFINITY else soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _too_few_files(spec: JobSpec, test: LoadTest, most: int) -> list[str]:
    """What to hold against this machine if calls waited for more connections than it allows."""
    if most >= spec.max_connections or not test.caller.blocked_s or spec.closed:
        return []
    return [
        f"calls waited for connections for {test.caller.blocked_s:,.1f} s: this system allows "
        f"{most:,} of them at once (ulimit -n)"
    ]


def _in_force(spec: JobSpec, plan: Plan, workload: Workload) -> dict[str, Any]:
    """The settings that meant anything to this test, as a job file would have them."""
    idle = {"rate", "duration"} if spec.find_max or spec.stages else set()
    idle |= {"rate", "max_connections"} if spec.closed else {"concurrency"}
    idle |= {"deadline"} if spec.max_attempts == 1 else set()
    idle |= {"processes"} if spec.processes == 1 else set()
    idle |= {"payload_size"} if spec.input and not spec.reads_ciphertext else set()
    settings = {name: value for name, value in spec.settings().items() if name not in idle}
    if plan.find_from is not None:
        settings["rate"] = plan.find_from
    slos = {"slos": [slo.text for slo in plan.slos]} if plan.slos else {}
    return {**settings, **slos, "seed": workload.seed}


def _record(
    spec: JobSpec, target: Target, test: LoadTest, workload: Workload, most: int
) -> RunRecord:
    plan, statistics = test.plan, test.statistics
    schedule = plan.schedule
    mix = parse_mix(spec.action)
    total = sum(mix.values())
    return RunRecord(
        version=__version__,
        started_at=test.started_at,
        endpoint=target.endpoint.url,
        state=test.state,
        model="closed" if plan.closed else "open",
        stages=[]
        if schedule is None
        else [
            StageRecord(duration_s=each.duration_s, from_rate=each.from_rate, to_rate=each.to_rate)
            for each in schedule.stages
        ],
        warmup_s=plan.warmup_s,
        actions={name: weight / total for name, weight in mix.items()},
        settings=_in_force(spec, plan, workload),
        calls=statistics.calls,
        target_rate=test.target_rate,
        invalid=[*test.faults(), *_too_few_files(spec, test, most)],
        notes=[*workload.notes, *test.judge.notes, *test.caller.notes()],
        slos=[] if plan.find_from is not None else test.judge.records(),
        generator=test.caller.generator(),
        connections=test.caller.connections(),
        max_rate=None if test.max_rate is None else test.max_rate.as_json(),
    )
