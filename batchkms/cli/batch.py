"""What every batch command does around its operation: open, connect, begin or resume, report."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from batchkms.cli.batchloop import spare_the_collector
from batchkms.cli.connect import Connection, connect, found_rate, paces
from batchkms.cli.inplace import Then, results_job
from batchkms.cli.inputs import format_name, open_input
from batchkms.cli.logs import ascii_json, log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.main import printable
from batchkms.cli.metrics import run_metrics
from batchkms.cli.operations import make_operation, result_columns
from batchkms.cli.reload import JobReader, Reload
from batchkms.cli.running import Ending, Running, end_on_signals
from batchkms.cli.streams import put, say, was_closed
from batchkms.cli.telling import told
from batchkms.cli.work import Parts, begin_work, copies_for, rows_to_do
from batchkms.errors import ConfigError, RunStopped
from batchkms.job import JobSpec, job_from
from batchkms.quota import GUARD_S, Group, Quotas
from batchkms.reporting.shardfigures import ShardFigures, shard_figures
from batchkms.reporting.summary import State, Summary
from batchkms.reporting.timeline import Timeline
from batchkms.runs.begin import AlreadyFinished, Begun, begin_retry, begin_run
from batchkms.runs.earlier import Identity
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.fingerprint import input_description, path_text
from batchkms.runs.inplace import InPlaceColumn
from batchkms.runs.lots import Work
from batchkms.runs.output import open_output
from batchkms.runs.retrying import Selection
from batchkms.runs.stdout import StdoutOutput
from batchkms.sinks import open_sink
from batchkms.sinks.base import Sink
from batchkms.sources.base import Source, unseen_texts
from batchkms.tally import Tally
from batchkms.team.member import MemberCopy
from batchkms.team.permits import TEAM_GUARD_S
from batchkms.team.team import Item

log = logging.getLogger(__name__)


def run_command(
    command: str, input_path: str | None, config: str | None, flags: Mapping[str, Any]
) -> int:
    """Runs the job of a command line and returns the exit code. Raises ConfigError."""
    read = partial(
        job_from,
        command=command,
        input_path=input_path,
        flags=flags,
        environ=os.environ,
        config=config,
    )
    return run_job(read(), again=read if config else None)


def run_job(
    spec: JobSpec, *, again: JobReader | None = None, retry: Selection | None = None
) -> int:
    """Runs a batch job to its end and returns the exit code.

    `again` reads the job anew, for SIGHUP. `retry` says which rows of a finished output are to
    be done again. Raises ConfigError and InputError, before anything
    was sent.
    """
    then: Then | None = None
    if spec.in_place_column and spec.output and retry is None:
        spec, then = results_job(spec)
    if spec.dry_run:
        from batchkms.cli.check import run_check

        return run_check(spec)
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    with copies_for(spec) as copies:
        return loop_runner()(_run(spec, again, retry, then, copies))


async def _run(
    spec: JobSpec,
    again: JobReader | None,
    retry: Selection | None,
    then: Then | None,
    copies: Sequence[MemberCopy],
) -> int:
    began_s = time.monotonic()
    tally = Tally()
    end_on_signals()
    async with AsyncExitStack() as stack:
        if spec.output == "-" and was_closed(1):
            raise ConfigError("stdout is closed", hint="write to a file with -o FILE")
        sink = open_sink(spec.output, format=spec.output_format, columns=result_columns(spec))
        output = open_output(
            spec.output,
            input_path=spec.input,
            overwrite=spec.overwrite,
            resume=spec.resume or retry is not None,
            fsync_interval_s=spec.fsync_interval,
        )
        source = open_input(spec)
        stack.push_async_callback(source.aclose)
        connection = await connect(spec, stack)
        identity = _identity(spec, source, connection, sink)
        stack.callback(output.release)
        try:
            begun = _begun(output, identity, spec.resume, retry, tally)
        except AlreadyFinished as finished:
            return told_finished(finished, spec, await then() if then else None)
        command = spec.command if retry is None else "retry"
        watch = await stack.enter_async_context(run_metrics(spec.metrics, command, tally))
        rows = begun.input_rows()
        items = await _first_read(rows_to_do(spec, source, begun, rows))
        operation = await make_operation(spec, connection, stack)
        rate = await found_rate(spec, connection)
        pace = paces(operation.groups, rate, reserve=spec.reserve, shard=spec.shard)
        quotas = Quotas(pace, guard_s=TEAM_GUARD_S if spec.processes > 1 else GUARD_S)
        stack.push_async_callback(quotas.aclose)
        parts = Parts(
            spec=spec,
            connection=connection,
            source=source,
            rows=rows,
            sink=sink,
            quotas=quotas,
            tally=tally,
            copies=copies,
        )
        items = await stack.enter_async_context(aclosing(items))
        work, lots = await begin_work(parts, operation, items, stack)
        watch(work, quotas, source)
        begun.make_files()
        main = operation.groups[0]
        spare_the_collector()
        reload = again and Reload(
            read=again,
            quotas=quotas,
            work=work,
            manifest=begun.manifest,
            found=rate,
            shard=spec.shard,
        )
        running = _running(parts, begun, output, work, main, reload)
        ending = await running.run(lots)
    summary = _summary(parts, begun, output, ending, main, wall_s=time.monotonic() - began_s)
    of = "share" if summary.shard is not None and summary.shard.input_rows else "input"
    return told(await _followed(summary, then), spec.summary, of=of)


def _running(
    parts: Parts,
    begun: Begun,
    output: FileOutput | StdoutOutput,
    work: Work,
    main: Group,
    reload: Callable[[], None] | None,
) -> Running:
    """All that a run needs; `main` is the group whose quota is the run's rate."""
    earlier = begun.manifest.timeline if begun.manifest else ()
    return Running(
        title=f"batchkms {parts.spec.command} {parts.source.name} → {parts.spec.output}",
        source=parts.source,
        rows=parts.rows,
        output=output,
        sink=parts.sink,
        work=work,
        manifest=begun.manifest,
        timeline=Timeline(parts.tally, earlier=earlier),
        progress=parts.spec.progress,
        reload=reload,
        shard=partial(_shard, parts.source, parts.quotas, main),
    )


def _summary(
    parts: Parts,
    begun: Begun,
    output: FileOutput | StdoutOutput,
    ending: Ending,
    main: Group,
    *,
    wall_s: float,
) -> Summary:
    spec, tally = parts.spec, parts.tally
    return Summary(
        command=spec.command,
        state=ending.state,
        tally=tally,
        wall_s=wall_s,
        output=output.where(finished=ending.state is State.FINISHED),
        manifest=str(begun.manifest.path) if begun.manifest else None,
        rate=parts.quotas[main].per_second,
        key_id=parts.connection.demo_key_id if spec.command == "encrypt" else None,
        error=ending.error,
        notes=unseen_texts(parts.source.unseen) if tally.rows else [],
        shard=_shard(parts.source, parts.quotas, main),
        unwritten=0 if output.rows is None else max(0, tally.done - output.rows),
    )


def _shard(source: Source, quotas: Quotas, group: Group) -> ShardFigures | None:
    return shard_figures(source, quotas[group].per_second)


async def _followed(summary: Summary, then: Then | None) -> Summary:
    """The summary after what follows a run that has finished."""
    if then is None or summary.state is not State.FINISHED:
        return summary
    end_on_signals()
    try:
        return replace(summary, in_place=await then())
    except RunStopped as error:
        return replace(summary, state=State.STOPPED, error=error)


def _begun(
    output: FileOutput | StdoutOutput,
    identity: Identity,
    resume: bool,
    retry: Selection | None,
    tally: Tally,
) -> Begun:
    if retry is not None and isinstance(output, FileOutput):
        return begin_retry(output, identity, retry, resume=resume, tally=tally)
    return begin_run(output, identity, resume=resume, tally=tally)


def _identity(spec: JobSpec, source: Source, connection: Connection, sink: Sink) -> Identity:
    key_id = spec.key_id or (connection.demo_key_id if spec.command == "encrypt" else None)
    return Identity(
        command=spec.command,
        settings={**spec.settings(), **({"key_id": key_id} if key_id else {})},
        input_path=spec.input,
        input=input_description(
            spec.input,
            format=format_name(spec),
            size_bytes=source.size_bytes,
        ),
        output={
            "path": path_text(spec.output),
            "format": sink.format,
            "columns": list(sink.columns),
            "overwrite": spec.overwrite,
        },
    )


async def _first_read(batches: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """The batches, with the first one read already.

    So an input that cannot be used at all is told before anything is sent. Raises InputError.
    """
    first: Item = []
    broken: RunStopped | None = None
    try:
        first = await anext(batches, [])
    except RunStopped as error:
        broken = error

    async def all_of_it() -> AsyncGenerator[Item, None]:
        if broken is not None:
            raise broken
        yield first
        async with aclosing(batches):
            async for batch in batches:
                yield batch

    return all_of_it()


def told_finished(
    finished: AlreadyFinished, spec: JobSpec, in_place: InPlaceColumn | None = None
) -> int:
    """Says what an earlier run has done, and exits as it did."""
    if spec.summary == "json":
        more = {"in_place": in_place.as_json()} if in_place else {}
        put(ascii_json({**finished.as_json(), **more}))
    else:
        line = f"nothing to do: {finished.output} was finished at {finished.ended_at}"
        if finished.failed:
            line += f", and {finished.failed:,} of its rows failed"
        say(f"batchkms: {printable(line)}")
        if in_place is not None:
            say(f"batchkms: {printable(in_place.as_text())}")
    return finished.exit_code
