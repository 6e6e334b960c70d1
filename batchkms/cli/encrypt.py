"""`batchkms encrypt`."""

from __future__ import annotations

import sys
from typing import Any

import click

from batchkms.cli.batch import run_command
from batchkms.cli.main import command_options


@click.command(short_help="Encrypt the rows of an inventory.")
@click.argument("input", required=False, metavar="INPUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("encrypt")
def encrypt(input: str | None, config: str | None, **flags: Any) -> None:
    """Encrypts each row of INPUT (JSONL or CSV, also .gz; - for stdin) under a CMK.

    Every row becomes exactly one row of the output: ok with its ciphertext, or failed with a
    class, a code and a reason. A failed row never ends the run.

    With --mode envelope the rows are encrypted here, with data keys of KMS, and with --oversize
    envelope those over 4,096 bytes.

    Any option can also be written in a job file (--config) under the same name, or in the
    environment as BATCHKMS_NAME. Flags beat the environment, which beats the file. Credentials
    are never a flag: they come from --profile or --credentials, else TENCENTCLOUD_SECRET_ID and
    TENCENTCLOUD_SECRET_KEY (and a token), ~/.tencentcloud/credentials, ~/.tccli, or the CVM role.
    """
    sys.exit(run_command("encrypt", input, config, flags))
