"""`batchkms reencrypt`."""

from __future__ import annotations

import sys
from typing import Any

import click

from batchkms.cli.batch import run_command
from batchkms.cli.main import command_options


@click.command(short_help="Move ciphertexts to another CMK.")
@click.argument("input", required=False, metavar="INPUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@command_options("reencrypt")
def reencrypt(input: str | None, config: str | None, **flags: Any) -> None:
    """Moves the ciphertext of each row of INPUT to the CMK of --key-id, by ReEncrypt.

    Rows may name a CMK of their own (--key-field); without any CMK each one moves to the newest
    version of its own. No plaintext enters this process. The result file of encrypt is an input
    as it is. The encryption context stays unless --destination-context-field names another.

    ReEncrypt cannot leave a region or an account. With --source-region, --source-endpoint or
    --source-profile each row is decrypted there and encrypted here, its plaintext in memory only.
    """
    sys.exit(run_command("reencrypt", input, config, flags))
