"""What every batch command does around its operation: open, connect, run, write, report."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass

import orjson

from batchkms.cli.connect import Connection, calls_per_second, connect
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.main import EXIT_INTERRUPTED, printable, tell
from batchkms.engine import Batch, Engine
from batchkms.errors import RunStopped
from batchkms.job import JobSpec
from batchkms.operations.base import Operation
from batchkms.quota import Quota
from batchkms.reporting.progress import Meter, shown
from batchkms.reporting.summary import State, Summary, exit_code
from batchkms.runs.manifest import Manifest, input_description, manifest_path
from batchkms.runs.output import Output, open_output
from batchkms.sinks import open_sink
from batchkms.sinks.base import Sink
from batchkms.sources import input_format, open_source
from batchkms.sources.base import Source

log = logging.getLogger(__name__)

UVLOOP_ABOVE_RATE = 2_000
"""uvloop is twice as fast, but spins where a wait is shorter than a millisecond; at low rates
asyncio's own loop takes half the CPU time."""

OperationMaker = Callable[[Connection, JobSpec], Operation]


def run_job(spec: JobSpec, *, command: str, operation: OperationMaker) -> int:
    """Runs a batch job to its end and returns the exit code.

    Raises ConfigError and InputError, before anything was sent.
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
        connection = await connect(spec, stack)
        batches = await stack.enter_async_context(aclosing(await _first_read(source)))
        quota = Quota(await calls_per_second(spec, connection))
        engine = Engine(
            operation(connection, spec),
            quota=quota,
            retry=spec.retry_policy(),
            options=spec.engine_options(),
        )
        job = _Job(
            spec=spec,
            command=command,
            source=source,
            output=output,
            sink=sink,
            engine=engine,
            manifest=Manifest(manifest_path(output.path)) if output.path else None,
        )
        ending = await job.run(_limited(batches, spec.limit))
    summary = Summary(
        command=command,
        state=ending.state,
        tally=engine.tally,
        wall_s=time.monotonic() - began,
        output=output.where(finished=ending.state is State.FINISHED),
        manifest=str(job.manifest.path) if job.manifest else None,
        rate=quota.per_second,
        key_id=connection.demo_key_id,
        error=ending.error,
    )
    return _told(summary, spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    state: State
    error: RunStopped | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """All that a run needs, opened."""

    spec: JobSpec
    command: str
    source: Source
    output: Output
    sink: Sink
    engine: Engine
    manifest: Manifest | None

    async def run(self, batches: AsyncIterator[Batch]) -> _Ending:
        """Runs it to whatever end, with its files in order at the end.

        Raises ConfigError when the output or its manifest cannot be made.
        """
        self._begin_manifest()
        self.output.begin()
        try:
            ending = await self._results_written(batches)
        except BaseException as error:
            # A defect, or the loop is being torn down: keep what there is, then let it pass.
            with suppress(Exception):
                await self.output.abandon()
                self._end_manifest(State.STOPPED, type(error).__name__, None)
            raise
        return await self._end_output(ending)

    async def _results_written(self, batches: AsyncIterator[Batch]) -> _Ending:
        engine, source = self.engine, self.source
        meter = Meter(
            f"batchkms {self.command} {printable(source.name)} → {printable(self.spec.output)}",
            engine.tally,
            consumed=lambda: _share_read(source),
            queued=lambda: engine.queued,
            outage=lambda: engine.outage,
        )
        try:
            with _draining_on_signals(engine):
                async with shown(meter, self.spec.progress), aclosing(engine.run(batches)) as lots:
                    await self.output.write(self.sink.header())
                    async for results in lots:
                        await self.output.write(self.sink.encode(results))
        except RunStopped as error:
            return _Ending(state=State.STOPPED, error=error)
        return _Ending(state=State.INTERRUPTED if engine.drained else State.FINISHED)

    async def _end_output(self, ending: _Ending) -> _Ending:
        digest: str | None = None
        try:
            if ending.state is State.FINISHED:
                digest = await self.output.finish()
            else:
                await self.output.abandon()
        except RunStopped as error:
            ending = _Ending(state=State.STOPPED, error=ending.error or error)
        reason = None if ending.error is None else str(ending.error)
        try:
            self._end_manifest(ending.state, reason, digest)
        except RunStopped as error:
            ending = _Ending(state=State.STOPPED, error=ending.error or error)
        return ending

    def _begin_manifest(self) -> None:
        if self.manifest is None:
            return
        spec = self.spec
        self.manifest.begin(
            command=self.command,
            input=input_description(
                spec.input,
                format=input_format(spec.input, spec.format),
                size_bytes=self.source.size_bytes,
            ),
            output={"path": os.path.abspath(self.spec.output), "format": self.sink.format},
            settings=spec.settings(),
        )

    def _end_manifest(self, state: State, reason: str | None, output_sha256: str | None) -> None:
        if self.manifest is None:
            return
        self.manifest.end(
            state=state.value,
            exit_code=int(exit_code(self.engine.tally, state)),
            reason=reason,
            tally=self.engine.tally,
            input_sha256=self.source.sha256,
            output_sha256=output_sha256,
            output_bytes=self.output.size_bytes,
        )


async def _first_read(source: Source) -> AsyncGenerator[Batch, None]:
    """The batches of a source, with the first one read already.

    So an input that cannot be used at all is told before anything is made or sent. Raises
    InputError.
    """
    batches = source.batches()
    first: Batch = []
    broken: RunStopped | None = None
    try:
        first = await anext(batches, [])
    except RunStopped as error:
        broken = error

    async def all_of_it() -> AsyncGenerator[Batch, None]:
        if broken is not None:
            raise broken
        yield first
        async for batch in batches:
            yield batch

    return all_of_it()


async def _limited(batches: AsyncIterator[Batch], limit: int | None) -> AsyncIterator[Batch]:
    left = limit
    async for batch in batches:
        if left is not None and len(batch) >= left:
            yield batch[:left]
            return
        yield batch
        left = None if left is None else left - len(batch)


def _share_read(source: Source) -> float | None:
    return source.read_bytes / source.size_bytes if source.size_bytes else None


@contextmanager
def _draining_on_signals(engine: Engine) -> Iterator[None]:
    """While inside, the first SIGINT or SIGTERM drains the run and the second ends the process."""
    loop = asyncio.get_running_loop()
    told = False

    def interrupted() -> None:
        nonlocal told
        if told:
            os._exit(EXIT_INTERRUPTED)
        told = True
        log.warning(
            "interrupted: waiting for the calls in flight; interrupt again to leave at once"
        )
        engine.drain()

    signals = (signal.SIGINT, signal.SIGTERM) if sys.platform != "win32" else ()
    for number in signals:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _told(summary: Summary, spec: JobSpec) -> int:
    if spec.summary == "json":
        print(orjson.dumps(summary.as_json()).decode(), flush=True)
    else:
        for line in summary.as_text():
            print(f"batchkms: {printable(line)}", file=sys.stderr)
    if summary.error is not None:
        tell(str(summary.error), summary.error.hint, 0)
    return int(summary.exit_code)
