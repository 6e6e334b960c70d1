"""A job file with steps: each becomes a JobSpec, and all are checked before the first one runs.

key-id = "…"            # options of every step whose command has them

[[step]]
command = "encrypt"
input = "inventory.csv"
output = "encrypted.csv"
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchkms.errors import ConfigError
from batchkms.job import JobSpec, file_values, job_from, read_job_file
from batchkms.jobrules import ABOUT_AN_OUTPUT
from batchkms.options import OF_COMMAND, Option

_OF_A_STEP = ("command", "allow-failures")
"""Keys of a step that are no options of its command."""

_WRITES = ("encrypt", "reencrypt", "decrypt")
_MAKES_A_FILE = (*_WRITES, "check")
_NOT_FOR_ALL = ("BATCHKMS_INPUT", "BATCHKMS_OUTPUT", "BATCHKMS_CONFIG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a list. `number` counts from 1.

    With `allow_failures` the list goes on though rows of this step have failed.
    """

    number: int
    spec: JobSpec
    allow_failures: bool

    @property
    def writes(self) -> bool:
        """Whether it makes or changes the rows of its output."""
        return self.spec.command in (*_WRITES, "retry")

    @property
    def title(self) -> str:
        """What it does, in a line."""
        spec = self.spec
        if spec.command in ABOUT_AN_OUTPUT:
            return f"{spec.command} {spec.output}"
        to = f" → {spec.output}" if spec.command in _MAKES_A_FILE and spec.output else ""
        return f"{spec.command} {spec.input}{to}"


def read_steps(
    path: str, *, flags: Mapping[str, Any], environ: Mapping[str, str], commands: Sequence[str]
) -> list[Step]:
    """The steps of a job file, each with its job. Nothing that they name is looked at.

    `flags` are raw values for every step whose command has them, None where one was not given.
    Flags beat environment beats step beats what is written for all beats default. `commands`
    are those that a step may name. Raises ConfigError, which names the file, the step and the
    key.
    """
    document = read_job_file(path)
    tables = _step_tables(path, document.pop("step", None))
    for variable in _NOT_FOR_ALL:
        if environ.get(variable):
            raise ConfigError(
                f"{variable} is set, and would be the same for every step",
                hint=f"unset it: the steps of {path} say it themselves",
            )
    named = [_command(f"{path}: step {n}", table, commands) for n, table in enumerate(tables, 1)]
    shared = file_values(path, document, _options_of(named))
    _refuse_unused(path, named, flags)
    steps = [
        _step(path, number, command, table, shared=shared, flags=flags, environ=environ)
        for number, (command, table) in enumerate(zip(named, tables, strict=True), 1)
    ]
    _check_together(path, steps)
    return steps


def read_step_again(read: Callable[[], list[Step]], step: Step) -> JobSpec:
    """The job of a step as its file is now. Raises ConfigError if it is another step by now."""
    steps = read()
    if len(steps) < step.number or steps[step.number - 1].title != step.title:
        raise ConfigError(f"step {step.number} is not {step.title!r} any more")
    return steps[step.number - 1].spec


def not_yet_made(step: Step, steps: Sequence[Step]) -> str | None:
    """The first file that a step reads, is not there, and that an earlier step makes."""
    made = {_place(other.spec.output) for other in steps[: step.number - 1] if other.writes}
    spec = step.spec
    own = spec.output if spec.command in ABOUT_AN_OUTPUT else ""
    path: str
    for path in (own, spec.input, spec.against or ""):
        if path not in ("", "-") and _place(path) in made and not os.path.exists(path):
            return path
    return None


def _step_tables(path: str, tables: Any) -> list[dict[str, Any]]:
    if isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables):
        return tables
    raise ConfigError(
        f"{path} has no list of steps" if tables else f"{path} has no step",
        hint='write [[step]] and below it command = "encrypt", input = "…" and output = "…"; '
        "a file for one command is given to that one with --config",
    )


def _command(where: str, table: dict[str, Any], commands: Sequence[str]) -> str:
    command = table.get("command")
    known = f"known are {', '.join(commands)}"
    if command is None:
        raise ConfigError(f"{where} names no command", hint=f'write: command = "…"; {known}')
    if command not in commands:
        raise ConfigError(f"{where}: there is no command {command!r}", hint=known)
    return str(command)


def _options_of(commands: Iterable[str]) -> list[Option]:
    """Every option that one of the commands has."""
    by_name = {option.name: option for command in commands for option in OF_COMMAND[command]}
    return list(by_name.values())


def _refuse_unused(path: str, commands: Sequence[str], flags: Mapping[str, Any]) -> None:
    used = {option.field for option in _options_of(commands)}
    for field, raw in flags.items():
        if raw is not None and field not in used:
            raise ConfigError(
                f"--{field.replace('_', '-')}: no step of {path} takes it", hint="leave it out"
            )


def _step(
    path: str,
    number: int,
    command: str,
    table: dict[str, Any],
    *,
    shared: Mapping[str, Any],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Step:
    where = f"{path}: step {number}"
    fields = {option.field for option in OF_COMMAND[command]} | {"input"}
    own = {key: raw for key, raw in table.items() if key.replace("_", "-") not in _OF_A_STEP}
    allow = table.get("allow-failures", table.get("allow_failures", False))
    if not isinstance(allow, bool):
        raise ConfigError(f"{where}: allow-failures is true or false", hint="leave out the quotes")
    values = {
        **{field: value for field, value in shared.items() if field in fields},
        **file_values(where, own, OF_COMMAND[command], more=_OF_A_STEP),
    }
    try:
        spec = job_from(
            command=command,
            input_path=None,
            flags={field: raw for field, raw in flags.items() if field in fields},
            environ=environ,
            config=None,
            file=values,
        )
    except ConfigError as error:
        raise ConfigError(f"{where} ({command}): {error}", hint=error.hint) from None
    return Step(number=number, spec=spec, allow_failures=allow)


def _check_together(path: str, steps: Sequence[Step]) -> None:
    """Raises ConfigError for steps that would be in each other's way."""
    read: dict[str, Step] = {}
    written: dict[str, Step] = {}
    for step in steps:
        source, output = _place(step.spec.input), _place(step.spec.output)
        if source == "-" and source in read:
            raise _clash(path, read[source], step, "both read stdin")
        read.setdefault(source, step)
        if source in written and step.spec.command != "verify":
            _refuse_share_of_share(path, written[source], step)
        if step.spec.command not in _MAKES_A_FILE or not output:
            continue
        if output in written:
            raise _clash(path, written[output], step, f"both write {step.spec.output}")
        if output != "-" and output in read:
            raise _clash(path, read[output], step, f"read and write {step.spec.output}")
        written[output] = step
        if output == "-" and (telling := _first_with_json(steps)):
            raise _clash(path, telling, step, "would mix a summary with results on stdout")


def _refuse_share_of_share(path: str, earlier: Step, step: Step) -> None:
    """The option is easily given to all steps, where rows would be left out in silence."""
    if earlier.spec.shard is not None and step.spec.shard is not None:
        raise ConfigError(
            f"{path}: step {step.number} would take the share {step.spec.shard} of the rows of "
            f"step {earlier.number}, which are one share already",
            hint="give --shard to the first of them alone",
        )


def _first_with_json(steps: Sequence[Step]) -> Step | None:
    return next((step for step in steps if step.spec.summary == "json"), None)


def _place(path: str) -> str:
    return path if path in ("", "-") else os.path.realpath(path)


def _clash(path: str, one: Step, other: Step, how: str) -> ConfigError:
    if one is other:
        return ConfigError(f"{path}: step {one.number} would {how}", hint="give it another output")
    return ConfigError(
        f"{path}: steps {one.number} and {other.number} {how}",
        hint="give one of them another input, output or summary",
    )
