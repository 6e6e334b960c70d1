"""`batchkms check`, and `--dry-run` of the commands that send rows: look, and send none."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Literal, cast

import click

from batchkms.checks.check import check as look
from batchkms.checks.plan import Plan
from batchkms.checks.report import CheckReport
from batchkms.cli.connect import Connection, NoCredentials, connect
from batchkms.cli.failingrows import failing_rows
from batchkms.cli.inputs import open_input
from batchkms.cli.logs import ascii_json, log_to_stderr
from batchkms.cli.loops import loop_runner
from batchkms.cli.main import command_options, printable
from batchkms.cli.streams import put, say
from batchkms.job import JobSpec, job_from
from batchkms.records import Result
from batchkms.runs.output import open_output
from batchkms.sinks import open_sink

log = logging.getLogger(__name__)


@click.command(short_help="Look at an inventory without sending any of it.")
@click.argument("input", required=False, metavar="INPUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("check")
def check(input: str | None, config: str | None, **flags: Any) -> None:
    """Reads all of INPUT and tells what encrypting it would come to. No row is sent.

    Told are rows and bytes, every row that would fail and why (all of them with -o FILE),
    duplicate ids, sizes, whether each CMK exists and is enabled, the quota, and what a run would
    take: calls, time, price and room on the disk. Exit code 0 if nothing speaks against a run, 1
    if rows would fail or a CMK cannot be used.
    """
    spec = job_from(
        command="check", input_path=input, flags=flags, environ=os.environ, config=config
    )
    sys.exit(run_check(spec))


def run_check(spec: JobSpec) -> int:
    """Looks at what a job would do and returns the exit code. Raises ConfigError, InputError."""
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    if spec.dry_run and spec.output:
        # What a run would refuse, a dry run refuses as well.
        open_sink(spec.output, format=spec.output_format)
        open_output(
            spec.output, input_path=spec.input, overwrite=spec.overwrite, resume=spec.resume
        )
    # In a dry run -o names the file for results, and there are none.
    failing = spec.output if spec.command == "check" else ""
    replace = spec.overwrite or spec.resume
    with failing_rows(failing, input_path=spec.input, replace=replace) as on_failing:
        report = loop_runner()(_report(spec, on_failing))
    if spec.summary == "json":
        put(ascii_json(report.as_json()))
    else:
        for line in report.as_text():
            say(f"batchkms: {printable(line)}")
    return int(report.exit_code)


async def _report(spec: JobSpec, on_failing: Callable[[Result], None] | None) -> CheckReport:
    async with AsyncExitStack() as stack:
        source = open_input(spec)
        stack.push_async_callback(source.aclose)
        connection = await _connected(spec, stack)
        return await look(
            source,
            kms=None if connection is None else connection.kms,
            region="" if connection is None else connection.region,
            key_id=_key_of_rows(spec, None if connection is None else connection.demo_key_id),
            rate=None if spec.rate == "off" else spec.rate,
            reserve=spec.reserve,
            shard=spec.shard,
            plan=_plan(spec),
            output_folder=_folder(spec.output),
            limit=spec.limit,
            again=None if spec.input == "-" else lambda: open_input(spec),
            on_failing=on_failing,
        )


async def _connected(spec: JobSpec, stack: AsyncExitStack) -> Connection | None:
    """A client, None where a check cannot ask the service; a dry run must be able to."""
    if spec.command != "check":
        return await connect(spec, stack)
    if spec.region is None:
        log.warning("the service is not asked: no region was given (--region)")
        return None
    try:
        return await connect(spec, stack)
    except NoCredentials as error:
        log.warning("the service is not asked: %s", error)
        return None


def _key_of_rows(spec: JobSpec, demo_key_id: str | None) -> str | None:
    """The CMK for rows that name none; there is none to decrypt, or to stay under its own."""
    if spec.command in ("encrypt", "check"):
        return spec.key_id or demo_key_id
    return spec.key_id if spec.command == "reencrypt" else None


def _plan(spec: JobSpec) -> Plan:
    command = "encrypt" if spec.command == "check" else spec.command
    return Plan(
        command=cast("Literal['encrypt', 'reencrypt', 'decrypt']", command),
        mode=spec.mode,
        oversize=spec.oversize,
        data_key_rows=spec.data_key_rows,
        transfer=spec.has_source,
        in_place=spec.in_place_column,
    )


def _folder(output: str) -> str | None:
    return None if output == "-" else os.path.dirname(output) or "."
