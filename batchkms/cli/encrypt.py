"""`batchkms encrypt`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import click

from batchkms.cli.batch import run_job
from batchkms.cli.connect import Connection
from batchkms.cli.main import command_options
from batchkms.job import JobSpec, job_from
from batchkms.operations.base import Operation
from batchkms.operations.encrypt import Encrypt


@click.command(short_help="Encrypt the rows of an inventory.")
@click.argument("input", required=False, metavar="INPUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("encrypt")
def encrypt(input: str | None, config: str | None, **flags: Any) -> None:
    """Encrypts each row of INPUT (JSONL or CSV, also .gz; - for stdin) under a CMK.

    Every row becomes exactly one row of the output: ok with its ciphertext, or failed with a
    class, a code and a reason. A failed row never ends the run.

    Any option can also be written in a job file (--config) under the same name, or in the
    environment as BATCHKMS_NAME. Flags beat the environment, which beats the file. Credentials
    are never a flag: they come from --profile or --credentials, else TENCENTCLOUD_SECRET_ID and
    TENCENTCLOUD_SECRET_KEY (and a token), ~/.tencentcloud/credentials, ~/.tccli, or the CVM role.
    """
    read = partial(
        job_from,
        command="encrypt",
        input_path=input,
        flags=flags,
        environ=os.environ,
        config=config,
    )
    sys.exit(
        run_job(
            read(), command="encrypt", operation=encrypt_operation, again=read if config else None
        )
    )


def encrypt_operation(connection: Connection, spec: JobSpec) -> Operation:
    """Encrypt as the job describes it."""
    return Encrypt(connection.kms, key_id=spec.key_id or connection.demo_key_id)
