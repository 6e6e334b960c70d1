"""`batchkms`: the group of commands, and how every error reaches the user."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from batchkms._version import __version__
from batchkms.cli import streams

if TYPE_CHECKING:
    from batchkms.options import Option

EXIT_USAGE = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130

_COMMANDS = {
    "check": ("batchkms.cli.check:check", "Look at an inventory without sending any of it."),
    "encrypt": ("batchkms.cli.encrypt:encrypt", "Encrypt the rows of an inventory."),
    "reencrypt": ("batchkms.cli.reencrypt:reencrypt", "Move ciphertexts to another CMK."),
    "decrypt": ("batchkms.cli.decrypt:decrypt", "Restore the plaintexts of a result file."),
    "run": ("batchkms.cli.run:run", "Run the steps of a job file, one after the other."),
    "retry": ("batchkms.cli.retry:retry", "Do the failed rows of an output again."),
    "merge": ("batchkms.cli.merge:merge", "Make one output of the outputs of all shares."),
    "audit": ("batchkms.cli.audit:audit", "Check an output against its manifest and input."),
    "verify": ("batchkms.cli.verify:verify", "Decrypt an output and compare it with its input."),
    "inspect": ("batchkms.cli.inspect:inspect", "Count what a result file holds."),
    "loadtest": ("batchkms.cli.loadtest:loadtest", "Measure a KMS endpoint under load."),
    "report": ("batchkms.cli.report:report", "Make an HTML report of result files."),
    "compare": ("batchkms.cli.compare:compare", "Put two load tests side by side."),
    "emulator": ("batchkms.cli.emulator:emulator", "Run a KMS on this machine, for tests."),
}
"""Where each command is, and its line in --help: none is imported before it is called."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchkms")
def cli() -> None:
    """Encrypts secrets inventories in bulk with Tencent Cloud KMS, inside the account's quota.

    Exit codes: 0 every record ok; 1 finished, some failed for good; 2 usage, configuration or
    unreadable input, nothing sent; 3 stopped, what is done is kept; 4 finished, every failure
    is retryable; 5 the input held no records; 6 a verification or an SLO failed; 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits. No error of a user ever ends in a traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    streams.prepare()
    try:
        code = _run(arguments)
    finally:
        streams.finish()
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """The exit code of a command."""
    _forbid_core_dumps()
    try:
        code = cli.main(args=arguments, prog_name="batchkms", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        streams.say(error.ctx.get_help() if error.ctx else error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "batchkms"
        return tell(error.format_message(), f"see {command} --help", EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return tell("interrupted", None, EXIT_INTERRUPTED)
    except streams.StdoutError as error:
        return tell(str(error), "the command itself has done its work", EXIT_STOPPED)
    except BrokenPipeError:
        return tell("stdout was closed by its reader", None, EXIT_STOPPED)
    except Exception as error:
        return tell_error(error)
    return code if isinstance(code, int) else 0


def tell(message: str, hint: str | None, code: int) -> int:
    """Says on stderr what went wrong and what to try; returns the exit code."""
    streams.say(f"batchkms: error: {printable(message)}")
    if hint:
        streams.say(f"batchkms: hint: {printable(hint)}")
    return code


def printable(text: str) -> str:
    """The text without characters that could drive a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def tell_error(error: Exception) -> int:
    """Says on stderr what went wrong; returns the exit code that goes with it."""
    from batchkms.errors import BatchKmsError, RunStopped

    if isinstance(error, BatchKmsError):
        code = EXIT_STOPPED if isinstance(error, RunStopped) else EXIT_USAGE
        return tell(str(error), error.hint, code)
    # A defect of ours. The exception's own text is left out: it could quote a secret.
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[::-1])
    return tell(
        f"internal error: {type(error).__name__} in {places}",
        "this is a defect of batchkms: please report this line; results written so far are kept",
        EXIT_STOPPED,
    )


def _forbid_core_dumps() -> None:
    """A core dump would hold plaintext and keys."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def command_options(name: str, *, without: Sequence[str] = ()) -> Callable[[Any], Any]:
    """Adds the options of a command to a click command; values arrive raw."""

    def add(command: Any) -> Any:
        from batchkms.options import OF_COMMAND

        return with_options(
            command, [option for option in OF_COMMAND[name] if option.name not in without]
        )

    return add


def _none_if_empty(ctx: click.Context, parameter: click.Parameter, given: Any) -> Any:
    """A flag that may be repeated was not given at all: None, as for every other flag."""
    return given or None


def with_options(command: Any, options: Sequence[Option]) -> Any:
    """The click command with these options as well; values arrive raw."""
    for option in reversed(options):
        default = option.shown_default
        if default is None and option.default is not None and not option.switch:
            default = str(option.default)
        shown = f"{option.help}  [default: {default}]" if default else option.help
        names = [name for name in (option.short, f"--{option.name}") if name]
        settings: dict[str, Any] = (
            {"is_flag": True} if option.switch else {"metavar": option.metavar, "type": str}
        )
        if option.repeated:
            settings |= {"multiple": True, "callback": _none_if_empty}
        if option.switch:
            # A job file may have switched it on.
            names[-1] += f"/--no-{option.name}"
        command = click.option(*names, option.field, default=None, help=shown, **settings)(command)
    return command
