"""`batchkms retry`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchkms.cli.batch import run_job
from batchkms.cli.inputs import job_of
from batchkms.cli.main import common_options
from batchkms.errors import ConfigError
from batchkms.records import ErrorClass
from batchkms.runs.retrying import Selection, manifest_to_retry

_OF_THE_RUN = (
    *("output", "overwrite", "format", "output-format", "id-field", "plaintext-field"),
    *("key-field", "context-field", "encoding", "limit", "ordered", "key-id"),
)
"""Options that say what the run is about: they are in the manifest."""


@click.command(short_help="Do the failed rows of an output again.")
@click.argument("output", metavar="OUT")
@click.option(
    "--class",
    "classes",
    metavar="CLASS,…",
    help="Rows of these classes.  [default: every row whose failure is retryable]",
)
@click.option("--input", metavar="INPUT", help="Where the input is now.  [default: where it was]")
@common_options(without=_OF_THE_RUN)
def retry(output: str, classes: str | None, input: str | None, **flags: Any) -> None:
    """Does the failed rows of OUT again, with the input and the settings of its run.

    All other rows are copied as they are and never sent again. OUT stays as it is until the new
    one is complete. The rows that are done again come last, also in an output that was --ordered.
    """
    manifest = manifest_to_retry(Path(output))
    spec = job_of(manifest, output=output, input_path=input, flags=flags)
    sys.exit(run_job(spec, retry=Selection(_classes(classes))))


def _classes(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in set(ErrorClass):
            raise ConfigError(
                f"--class: there is no class {name!r}", hint=f"known are {', '.join(ErrorClass)}"
            )
    return frozenset(names)
