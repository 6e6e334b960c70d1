"""`batchkms retry`."""

from __future__ import annotations

import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchkms.cli.batch import run_job, told_finished
from batchkms.cli.connect import assumed_rate, paces
from batchkms.cli.inputs import job_of
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import command_options, printable
from batchkms.cli.reload import JobReader
from batchkms.cli.streams import put, say
from batchkms.job import JobSpec, job_from
from batchkms.options import OF_COMMAND
from batchkms.quota import Group
from batchkms.reporting.verification import Cost
from batchkms.runs.begin import AlreadyFinished
from batchkms.runs.manifest import Manifest
from batchkms.runs.retrying import Selection, any_selected, manifest_to_retry
from batchkms.runs.retryplan import plan_retry


@click.command(short_help="Do the failed rows of an output again.")
@click.argument("output", required=False, metavar="OUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@click.option("--input", metavar="INPUT", help="Where the input is now.  [default: where it was]")
@command_options("retry", without=("output",))
def retry(output: str | None, config: str | None, input: str | None, **flags: Any) -> None:
    """Does the failed rows of OUT again, with the input and the settings of its run.

    All other rows are copied as they are and never sent again. OUT stays as it is until the new
    one is complete. The rows that are done again come last, also in an output that was --ordered.
    """
    read = partial(
        job_from,
        command="retry",
        input_path=input,
        flags={**flags, "output": output},
        environ=os.environ,
        config=config,
    )
    sys.exit(run_retry(read(), again=read if config else None))


def run_retry(order: JobSpec, *, again: JobReader | None = None) -> int:
    """Does failed rows of `order.output` again and returns the exit code.

    What the order does not say is as it was in the run. `again` reads the order anew, for
    SIGHUP. Raises ConfigError and InputError.
    """
    manifest = manifest_to_retry(Path(order.output))
    classes = None if order.classes is None else frozenset(order.classes)
    if (
        manifest.content["input"]["path"] == "-"
        and not order.input
        and manifest.finished
        and not any_selected(Path(order.output), manifest, Selection(classes))
    ):
        return told_finished(AlreadyFinished(order.output, manifest.content), order)
    if order.dry_run:
        return _tell_plan(order, _job(order, manifest), manifest, Selection(classes))
    return run_job(
        _job(order, manifest),
        again=None if again is None else lambda: _job(again(), manifest),
        retry=Selection(classes),
    )


def _tell_plan(order: JobSpec, job: JobSpec, manifest: Manifest, selection: Selection) -> int:
    """Says what a retry would do; nothing is sent, written or locked."""
    plan = plan_retry(Path(order.output), manifest, selection, resume=order.resume)
    rows = plan.selected.total()
    calls = -(-rows // job.data_key_rows) if job.mode == "envelope" else rows
    pace = paces([Group.CRYPT], assumed_rate(job), reserve=job.reserve, shard=job.shard)
    cost = Cost(
        calls=calls * 2 if job.has_source else calls,
        per_second=pace[Group.CRYPT],
    )
    if order.summary == "json":
        counts = {"rows": plan.rows, "selected": dict(plan.selected), "left": dict(plan.left)}
        about = {"command": "retry", "dry_run": True, "exit_code": 0, "output": order.output}
        put(ascii_json({**about, **counts, "cost": cost.as_json()}))
        return 0
    told = [
        f"retry of {order.output}: nothing was sent",
        f"would be done again: {rows:,} of {plan.rows:,}{_by_class(plan.selected)}",
        *([f"would stay failed: {plan.left.total():,}{_by_class(plan.left)}"] if plan.left else []),
        cost.as_text(),
    ]
    for line in told:
        say(f"batchkms: {printable(line)}")
    return 0


def _by_class(counts: Counter[str]) -> str:
    told = ", ".join(f"{name} {rows:,}" for name, rows in counts.most_common())
    return f" ({told})" if told else ""


def _job(order: JobSpec, manifest: Manifest) -> JobSpec:
    options = {option.field: option for option in OF_COMMAND[manifest.content["command"]]}
    given = {
        name: options[name].write(getattr(order, name)) for name in order.given if name in options
    }
    return job_of(
        manifest, output=order.output, input_path=order.input or None, flags=given, environ={}
    )
