"""What every batch command does around its operation: open, connect, run, write, report."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass

import orjson

from batchkms._version import __version__
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.main import tell
from batchkms.engine import Batch, Engine
from batchkms.errors import ConfigError, KmsError, OutputError, RunStopped
from batchkms.job import JobSpec
from batchkms.kms.client import DEFAULT_ENDPOINT, KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials, find_credentials
from batchkms.operations.base import Operation
from batchkms.quota import Quota
from batchkms.reporting.progress import Meter, shown
from batchkms.reporting.summary import Exit, State, Summary
from batchkms.runs.manifest import RunRecord
from batchkms.runs.output import Output, open_output
from batchkms.sinks import open_sink
from batchkms.sources import open_source
from batchkms.sources.base import Source

UVLOOP_ABOVE_RATE = 2_000
"""uvloop is twice as fast, but spins where a wait is shorter than a millisecond; at low rates
asyncio's own loop takes half the CPU time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an operation is made from."""

    kms: KmsClient
    demo_key_id: str | None


OperationMaker = Callable[[Context, JobSpec], Operation]


def run_job(spec: JobSpec, *, command: str, operation: OperationMaker) -> int:
    """Runs a batch job to its end and returns the exit code.

    Raises ConfigError and InputError before anything was sent.
    """
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    return _loop_runner(spec)(_run(spec, command, operation))


def _loop_runner(spec: JobSpec) -> Callable[[Awaitable[int]], int]:
    fast = spec.rate == "off" or (isinstance(spec.rate, int) and spec.rate > UVLOOP_ABOVE_RATE)
    if fast and sys.platform != "win32":
        import uvloop

        return uvloop.run  # type: ignore[return-value]  # takes any coroutine, as asyncio.run
    return asyncio.run  # type: ignore[return-value]  # the same


async def _run(spec: JobSpec, command: str, operation: OperationMaker) -> int:
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        sink = open_sink(spec.output, format=spec.output_format)
        output = open_output(
            spec.output,
            input_path=spec.input,
            overwrite=spec.overwrite,
            fsync_interval_s=spec.fsync_interval,
        )
        source = open_source(
            spec.input,
            format=spec.format,
            fields=spec.fields(),
            needs_key=spec.key_id is None and not spec.emulator,
        )
        stack.push_async_callback(source.aclose)
        context = await _connect(spec, stack)
        quota = Quota(await _per_second(spec, context.kms))
        batches = await _begun(source, spec.limit)
        engine = Engine(
            operation(context, spec),
            quota=quota,
            retry=spec.retry_policy(),
            options=spec.engine_options(),
        )
        run = RunRecord.begin(command, spec, source, output, key_id=context.demo_key_id)
        ending = await _write_results(spec, source, batches, engine, output, sink, run)
    summary = Summary(
        command=command,
        state=ending.state,
        tally=engine.tally,
        wall_s=time.monotonic() - began,
        output=ending.where,
        manifest=run.path,
        rate=quota.per_second,
        key_id=context.demo_key_id,
        error=ending.error,
    )
    return _tell_summary(summary, spec)
