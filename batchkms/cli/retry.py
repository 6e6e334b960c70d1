"""`batchkms retry`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchkms.cli.batch import run_job, told_finished
from batchkms.cli.inputs import job_of
from batchkms.cli.main import command_options
from batchkms.cli.reload import JobReader
from batchkms.job import JobSpec, job_from
from batchkms.options import OF_COMMAND
from batchkms.runs.begin import AlreadyFinished
from batchkms.runs.manifest import Manifest
from batchkms.runs.retrying import Selection, any_selected, manifest_to_retry


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
    return run_job(
        _job(order, manifest),
        again=None if again is None else lambda: _job(again(), manifest),
        retry=Selection(classes),
    )


def _job(order: JobSpec, manifest: Manifest) -> JobSpec:
    options = {option.field: option for option in OF_COMMAND[manifest.content["command"]]}
    given = {
        name: options[name].write(getattr(order, name)) for name in order.given if name in options
    }
    return job_of(
        manifest, output=order.output, input_path=order.input or None, flags=given, environ={}
    )
