"""`batchkms emulator`."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click
import orjson

from batchkms.cli.logs import log_to_stderr
from batchkms.emulator import Emulator, default_data_dir
from batchkms.errors import ConfigError

MAX_RATE = 1_000_000

log = logging.getLogger("batchkms.cli.emulator")


def _rate_limit(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    if text == "none":
        return None
    if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) and 1 <= int(text) <= MAX_RATE:
        return int(text)
    raise click.BadParameter(f"takes calls per second from 1 to {MAX_RATE:,}, or none")


@click.command(short_help="Run a KMS on this machine, for tests.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address.")
@click.option("--port", default=0, metavar="N", help="Port; 0 takes any free one.  [default: 0]")
@click.option(
    "--data-dir",
    metavar="DIR",
    help="Where keys and the credential are kept.  [default: the user's data directory]",
)
@click.option("--region", default="ap-guangzhou", show_default=True, help="Region to be.")
@click.option(
    "--rate-limit",
    metavar="N|none",
    callback=_rate_limit,
    default="300",
    show_default=True,
    help="Encrypt and Decrypt let through in any second.",
)
@click.option("--credentials", metavar="FILE", help="Take these credentials as well (TOML, JSON).")
@click.option(
    "--allow-any-credentials", is_flag=True, help="Take ids in that file that look like real ones."
)
@click.option("--strict", is_flag=True, help="Refuse what the real gateway would refuse.")
@click.option("--ready-file", metavar="FILE", help="Write the ready line here as well.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def emulator(
    host: str,
    port: int,
    data_dir: str | None,
    region: str,
    rate_limit: int | None,
    credentials: str | None,
    allow_any_credentials: bool,
    strict: bool,
    ready_file: str | None,
    log_level: str,
) -> None:
    """Runs a KMS on this machine until it is interrupted: real HTTP, no account needed.

    Once it listens it prints one line of JSON on stdout, with endpoint, region, secret_id,
    secret_key and key_id of a demo CMK. Keys are kept, so that a later run can decrypt.
    GET /_emulator/stats tells what was called.
    """
    log_to_stderr(level=log_level, log_format="text")
    server = Emulator(
        data_dir=Path(data_dir) if data_dir else default_data_dir(),
        host=host,
        port=port,
        rate_limit=rate_limit,
        region=region,
        credentials=credentials,
        allow_any_credentials=allow_any_credentials,
        strict=strict,
    )
    if sys.platform == "win32":
        asyncio.run(_serve(server, ready_file))
    else:
        import uvloop

        uvloop.run(_serve(server, ready_file))


async def _serve(server: Emulator, ready_file: str | None) -> None:
    stopped = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        line = _ready_line(server)
        if ready_file is not None:
            _write_private(Path(ready_file), line)
        print(line, flush=True)
        log.info("emulator listens on %s, its keys are in %s", server.endpoint, server.data_dir)
        await stopped.wait()
    log.info("emulator stopped")


def _ready_line(server: Emulator) -> str:
    return orjson.dumps(
        {
            "endpoint": server.endpoint,
            "region": server.region,
            "secret_id": server.secret_id,
            "secret_key": server.secret_key,
            "key_id": server.demo_key_id,
        }
    ).decode()


def _write_private(path: Path, line: str) -> None:
    """Writes a line to a file that only its owner can read, whole or not at all."""
    if path.exists() and not path.is_file():
        # What is renamed over a device or a pipe would take its place.
        raise ConfigError(
            f"the ready file {path} is no plain file", hint="name a file that may be replaced"
        )
    temporary = None
    try:
        # mkstemp gives mode 0600.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        raise ConfigError(
            f"the ready file {path} cannot be written: {error.strerror}",
            hint="name a file in a directory that you may write to",
        ) from None
