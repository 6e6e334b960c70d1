"""`batchkms emulator`."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from batchkms.cli.logs import log_to_stderr
from batchkms.cli.readyline import announce, ready_fields
from batchkms.emulator import Emulator
from batchkms.emulator.faults import rules_of
from batchkms.emulator.quota import WINDOWS
from batchkms.emulator.tiers import TIERS
from batchkms.errors import ConfigError

MAX_RATE = 1_000_000

Tell = Callable[[dict[str, Any]], None]

log = logging.getLogger("batchkms.cli.emulator")


def _rate_limit(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    if text == "none":
        return None
    if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) and 1 <= int(text) <= MAX_RATE:
        return int(text)
    raise click.BadParameter(f"takes calls per second from 1 to {MAX_RATE:,}, or none")


@click.command(short_help="Run a KMS on this machine, for tests.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; one that others can reach asks for --tls.",
)
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
@click.option(
    "--tier",
    metavar="TIER",
    type=click.Choice(list(TIERS)),
    help=f"Have the quotas of a tier that can be bought: {', '.join(TIERS)}.",
)
@click.option(
    "--rate-window",
    type=click.Choice(list(WINDOWS)),
    default="sliding",
    show_default=True,
    help="Count in any second, or in every whole second of the clock.",
)
@click.option("--credentials", metavar="FILE", help="Take these credentials as well (TOML, JSON).")
@click.option(
    "--allow-any-credentials", is_flag=True, help="Take ids in that file that look like real ones."
)
@click.option("--strict", is_flag=True, help="Refuse what the real gateway would refuse.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FIELD=VALUE,...",
    help="Fail: action=Encrypt,code=InternalError,probability=0.05 (see docs/emulator.md).",
)
@click.option("--fault-file", metavar="FILE", help="Fault rules from a file (TOML).")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a test CA made in the data directory.")
@click.option(
    "--tls-name", "tls_names", multiple=True, metavar="NAME", help="With --tls: one more host name."
)
@click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="The key of --tls-cert (PEM, no password).")
@click.option(
    "--insecure-host",
    is_flag=True,
    help="Let --host be reached in plain HTTP: anybody on that network may read what is sent.",
)
@click.option(
    "--seed-file", metavar="FILE", help="Have the keys in this file from the start (TOML)."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Make ids, keys, dates and ciphertexts the same in every run with the same calls; "
    "without --data-dir nothing is kept.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that serve the port together, with one store and one quota.",
)
@click.option("--ready-file", metavar="FILE", help="Write the ready line here as well.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.pass_context
def emulator(
    context: click.Context,
    /,
    data_dir: str | None,
    faults: tuple[str, ...],
    fault_file: str | None,
    workers: int,
    ready_file: str | None,
    log_level: str,
    **options: Any,
) -> None:
    """Runs a KMS on this machine until it is interrupted: real HTTP, no account needed.

    Once it listens it prints one line of JSON on stdout, with endpoint, region, secret_id,
    secret_key and key_id of a demo CMK, and where there are, ca_file and token. Keys are kept,
    so that a later run can decrypt. GET /_emulator/stats tells what was called.
    """
    log_to_stderr(level=log_level, log_format="text")
    _refuse_two_quotas(context)
    options["data_dir"] = data_dir or None
    options["faults"] = rules_of(faults, Path(fault_file) if fault_file else None)
    server = Emulator(**options)
    if workers > 1:
        _serve_together(workers, server, options, ready_file)
    else:
        _run(_serve(server, lambda fields: announce(fields, ready_file)))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(serving)
    else:
        import uvloop

        uvloop.run(serving)


def _serve_together(
    workers: int, checked: Emulator, options: dict[str, Any], ready_file: str | None
) -> None:
    """Runs several workers; `checked` is an emulator that none of the options has stopped."""
    from batchkms.emulator.workers import MAX_LIMIT, Team, run_workers

    if options["seed"] is not None:
        raise ConfigError(
            "--seed and --workers exclude each other",
            hint="which worker takes a call is never the same in two runs",
        )
    if options["rate_limit"] is not None and options["rate_limit"] > MAX_LIMIT:
        raise ConfigError(
            f"--workers hold a --rate-limit of up to {MAX_LIMIT:,} together",
            hint="give --rate-limit none, or leave --workers out",
        )

    def serve(team: Team, port: int, tell: Tell, alive: int) -> None:
        server = Emulator(**{**options, "port": port}, team=team)
        _run(_serve(server, tell, alive))

    def announce_all(fields: dict[str, Any]) -> None:
        announce(fields, ready_file)
        log.info("%d workers listen on %s", workers, fields["endpoint"])

    run_workers(
        workers, host=checked.host, port=options["port"], serve=serve, announce=announce_all
    )
    log.info("emulator stopped")


def _refuse_two_quotas(context: click.Context) -> None:
    rate_given = (
        context.get_parameter_source("rate_limit") is click.core.ParameterSource.COMMANDLINE
    )
    if rate_given and context.params["tier"] is not None:
        raise ConfigError(
            "--rate-limit and --tier exclude each other", hint="a tier sets all limits at once"
        )


async def _serve(server: Emulator, tell: Tell, alive: int | None = None) -> None:
    """Serves until it is asked to end, or until the parent has ended, which `alive` shows."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    if alive is not None:
        loop.add_reader(alive, stopped.set)
    async with server:
        tell(ready_fields(server))
        if alive is None:
            log.info("emulator listens on %s, its keys are in %s", server.endpoint, server.data_dir)
        await stopped.wait()
        if alive is not None:
            loop.remove_reader(alive)
    if alive is None:
        log.info("emulator stopped")
