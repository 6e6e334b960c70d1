"""`batchkms inspect`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from batchkms.checks.census import take_census
from batchkms.cli.inputs import refuse_special
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import command_options, printable
from batchkms.cli.streams import put, say
from batchkms.job import JobSpec, job_from


@click.command(short_help="Count what a result file holds.")
@click.argument("input", required=False, metavar="OUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("inspect")
def inspect(input: str | None, config: str | None, **flags: Any) -> None:
    """Counts the rows of OUT by status, class, code, CMK, encryption context and mode.

    OUT is a result file of any command, finished or .partial, with a manifest or without. KMS is
    not called, and no plaintext is shown. Exit code 6 if the file is damaged, with the line;
    a last row that is torn is no damage in a .partial file, whose run may not have ended.
    """
    spec = job_from(
        command="inspect", input_path=input, flags=flags, environ=os.environ, config=config
    )
    sys.exit(run_inspect(spec))


def run_inspect(spec: JobSpec) -> int:
    """Tells what a result file holds and returns the exit code. Raises ConfigError, InputError."""
    if spec.input != "-":
        refuse_special(spec.input)
    census = take_census(spec.input, format=spec.format)
    if spec.summary == "json":
        put(ascii_json(census.as_json()))
    else:
        for line in census.as_text():
            say(f"batchkms: {printable(line)}")
    return int(census.exit_code)
