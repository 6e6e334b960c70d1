"""`batchkms decrypt`."""

from __future__ import annotations

import sys
from typing import Any

import click

from batchkms.cli.batch import run_command
from batchkms.cli.main import command_options


@click.command(short_help="Restore the plaintexts of a result file.")
@click.argument("input", required=False, metavar="INPUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("decrypt")
def decrypt(input: str | None, config: str | None, **flags: Any) -> None:
    """Decrypts each row of INPUT, a result file of encrypt or reencrypt or any file of blobs.

    The plaintext is written to the column `plaintext`: as it is where it is valid UTF-8, else in
    base64; the column `encoding` says which. The output is readable by its owner alone, and goes
    to stdout only with --allow-stdout. Envelopes are opened here, with their data keys.
    """
    sys.exit(run_command("decrypt", input, config, flags))
