"""`batchkms verify`."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchkms.cli.connect import assumed_rate, connect, found_rate, paces
from batchkms.cli.inputs import refuse_special
from batchkms.cli.logs import ascii_json, log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.main import command_options, printable
from batchkms.cli.metrics import run_metrics
from batchkms.cli.reload import JobReader, Reload
from batchkms.cli.running import Ending, end_on_signals, share_read, signals_drain
from batchkms.cli.streams import put, say
from batchkms.cli.telling import told
from batchkms.engine import Engine
from batchkms.errors import ConfigError, RunStopped
from batchkms.job import JobSpec, job_from
from batchkms.operations.verify import Verify
from batchkms.quota import Quotas
from batchkms.records import MAX_ENVELOPE_BYTES
from batchkms.reporting.progress import Meter, shown
from batchkms.reporting.summary import State
from batchkms.reporting.verification import Cost, VerifySummary
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.verification import Verification
from batchkms.shard import Shard
from batchkms.sources import input_format, open_source
from batchkms.sources.base import Source
from batchkms.sources.shares import SharedSource
from batchkms.tally import Tally


@click.command(short_help="Decrypt an output and compare it with its input.")
@click.argument("output", required=False, metavar="OUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("verify")
def verify(output: str | None, config: str | None, **flags: Any) -> None:
    """Decrypts the rows of OUT and compares each with its row of the inventory (--against).

    Rows are matched by their number. Those that are swapped, corrupted, missing, added or have
    another context are named. Every row costs a call of Decrypt, every data key of envelopes one;
    --sample N decrypts only N rows, chosen at random, and compares what needs no call of the
    others. --format and the names of fields describe the inventory.

    Exit code 6 if anything is not right; 1 if rows could not be verified, as they had failed.
    """
    read = partial(
        job_from,
        command="verify",
        input_path=output,
        flags=flags,
        environ=os.environ,
        config=config,
    )
    sys.exit(run_verify(read(), again=read if config else None))


def run_verify(spec: JobSpec, *, again: JobReader | None = None) -> int:
    """Verifies an output and returns the exit code. `again` reads the job anew, for SIGHUP.

    Raises ConfigError, InputError, RunStopped.
    """
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    return loop_runner()(_run(spec, again))


async def _run(spec: JobSpec, again: JobReader | None) -> int:
    began_s = time.monotonic()
    tally = Tally()
    end_on_signals()
    refuse_special(spec.input)
    seed = spec.seed if spec.seed is not None else secrets.randbelow(2**53)
    async with AsyncExitStack() as stack:
        shard = _share_of(spec)
        source = _inventory(spec, shard, stack)
        outcome = stack.enter_context(Verification(Path(spec.input), format=_format(spec.input)))
        if spec.dry_run:
            return await _planned(spec, shard, outcome, seed)
        connection = await connect(spec, stack)
        watch = await stack.enter_async_context(run_metrics(spec.metrics, "verify", tally))
        found = await found_rate(spec, connection)
        operation = Verify(connection.kms)
        pace = paces(operation.groups, found, reserve=spec.reserve, shard=spec.shard)
        await outcome.read_output()
        if spec.sample is not None:
            outcome.choose(spec.sample, seed)
        cost = Cost(calls=outcome.calls, per_second=pace[operation.groups[0]])
        say(f"batchkms: {printable(_plan(spec, shard, outcome))}: {cost.as_text()}")
        quotas = Quotas(pace)
        stack.push_async_callback(quotas.aclose)
        engine = Engine(
            operation,
            quotas=quotas,
            retry=spec.retry_policy(),
            options=replace(spec.engine_options(), key_per_record=True, stops_when_all_fail=False),
            tally=tally,
        )
        reload = again and Reload(
            read=again,
            quotas=quotas,
            work=engine,
            manifest=None,
            found=found,
            shard=spec.shard,
        )
        watch(engine, quotas, source)
        ending = await _compared(spec, source, engine, outcome, reload)
        outcome.end(operation, complete=ending.state is State.FINISHED)
    if unsampled := outcome.unverified.other_context:
        say(
            f"batchkms: {unsampled:,} rows that are not in the sample were reencrypted and have "
            "another encryption context than the inventory: they are unverified"
        )
    summary = VerifySummary(
        outcome=outcome,
        state=ending.state,
        tally=tally,
        cost=cost,
        output=spec.input,
        against=spec.against or "",
        shard=shard,
        wall_s=time.monotonic() - began_s,
        sample=spec.sample,
        seed=None if spec.sample is None else seed,
        error=ending.error,
    )
    return told(summary, spec.summary, of="inventory")


async def _planned(spec: JobSpec, shard: Shard | None, outcome: Verification, seed: int) -> int:
    """Says what a verification would take; no call is made and the inventory is not read."""
    await outcome.read_output()
    if spec.sample is not None:
        outcome.choose(spec.sample, seed)
    groups = Verify.groups
    pace = paces(groups, assumed_rate(spec), reserve=spec.reserve, shard=spec.shard)
    cost = Cost(calls=outcome.calls, per_second=pace[groups[0]])
    if spec.summary == "json":
        about = {"command": "verify", "dry_run": True, "exit_code": 0, "output": spec.input}
        about["shard"] = None if shard is None else str(shard)
        rows = {"output_rows": outcome.output_rows, "to_decrypt": outcome.chosen}
        put(ascii_json({**about, **rows, "cost": cost.as_json()}))
    else:
        plan = printable(_plan(spec, shard, outcome))
        say(f"batchkms: {plan}: {cost.as_text()}; nothing was sent")
    return 0


async def _compared(
    spec: JobSpec,
    source: Source,
    engine: Engine,
    outcome: Verification,
    reload: Reload | None,
) -> Ending:
    """Decrypts and compares every chosen row, to whatever end."""
    meter = Meter(
        printable(f"batchkms verify {spec.input} against {source.name}"),
        engine.tally,
        consumed=lambda: share_read(source),
        queued=lambda: engine.queued,
        outage=lambda: engine.outage,
    )
    with signals_drain(engine, reload=reload):
        try:
            async with (
                shown(meter, spec.progress),
                aclosing(outcome.to_decrypt(source.batches())) as batches,
                aclosing(engine.run(batches)) as lots,
            ):
                async for results in lots:
                    outcome.judge(results)
        except RunStopped as error:
            return Ending(state=State.STOPPED, error=error)
    return Ending(state=State.INTERRUPTED if engine.drained else State.FINISHED)


def _share_of(spec: JobSpec) -> Shard | None:
    """Which share of the inventory the output has the rows of: as its manifest says, or --shard.

    The rate is divided for --shard alone: that one share is verified does not say that others
    are meanwhile. Raises ConfigError where rows would be compared with those of another share.
    """
    try:
        manifest = Manifest.load(manifest_path(Path(spec.input)))
    except ConfigError:
        # Without one that can be read, the rows themselves are verified as well as ever.
        return spec.shard
    noted = None if manifest is None else manifest.content.get("shard")
    if manifest is None or noted is None:
        return spec.shard
    of_output = Shard(noted["number"], noted["of"])
    if manifest.content["command"] == "encrypt":
        if spec.shard not in (None, of_output):
            raise ConfigError(
                f"{spec.input} is of the share {of_output}, and --shard is {spec.shard}",
                hint="leave --shard out, or name the output of that share",
            )
        return of_output
    if spec.shard is None:
        # Dealt were the rows of a result file, which come in the order in which they were done.
        raise ConfigError(
            f"{spec.input} is of the share {of_output} of a result file, and nothing says which "
            "rows of the inventory those are",
            hint="merge all shares and verify that; or, if that file has its rows in the order of "
            f"the inventory, say --shard {of_output}",
        )
    return spec.shard


def _inventory(spec: JobSpec, shard: Shard | None, stack: AsyncExitStack) -> Source:
    source = open_source(
        spec.against or "",
        format=spec.format,
        profile=spec.input_profile,
        fields=spec.fields(),
        # Whether rows were encrypted with data keys, only the output says.
        max_plaintext_bytes=MAX_ENVELOPE_BYTES,
    )
    stack.push_async_callback(source.aclose)
    return source if shard is None else SharedSource(source, shard)


def _format(output: str) -> str:
    """The format of an output: by its suffix or, if that says nothing, by its manifest."""
    if output.lower().endswith(".gz"):
        raise ConfigError(
            f"{output} is compressed, and its rows are read where they lie",
            hint="decompress it first: gunzip",
        )
    try:
        return input_format(output, None)
    except ConfigError:
        manifest = Manifest.load(manifest_path(Path(output)))
        noted = None if manifest is None else manifest.content["output"].get("format")
        if noted not in ("jsonl", "csv"):
            raise ConfigError(
                f"neither the suffix of {output} nor a manifest beside it tells its format",
                hint="name it .jsonl or .csv",
            ) from None
        return str(noted)


def _plan(spec: JobSpec, shard: Shard | None, outcome: Verification) -> str:
    share = "" if shard is None else f" (share {shard})"
    chosen = "all" if outcome.chosen == outcome.ok_rows else "of them"
    return (
        f"verify {spec.input}{share}: {outcome.output_rows:,} rows, {outcome.ok_rows:,} with a "
        f"ciphertext, {chosen} {outcome.chosen:,} to decrypt"
    )
