"""JobSpec: what to run, gathered from flags, environment, job file and defaults, and checked."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from batchkms.engine import EngineOptions, MaxFailures
from batchkms.errors import ConfigError
from batchkms.kms.transport import is_loopback, parse_endpoint
from batchkms.options import COMMON, BadValue, Option
from batchkms.retry import RetryPolicy
from batchkms.sources.base import Encoding, Fields

EMULATOR_REGION = "ap-guangzhou"
"""The region that is called where any will do: on loopback, nothing depends on it."""


DEFAULT_FIELDS = {
    "id_field": "id",
    "plaintext_field": "plaintext",
    "context_field": "encryption_context",
}
"""Which fields are looked for where none is named."""

_INPUT, _CONFIG = "BATCHKMS_INPUT", "BATCHKMS_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One batch job. The fields are the options of `options.COMMON`; times are in seconds."""

    input: str
    output: str
    overwrite: bool
    resume: bool
    format: Literal["jsonl", "csv"] | None
    output_format: Literal["jsonl", "csv"] | None
    id_field: str | None
    plaintext_field: str | None
    key_field: str | None
    context_field: str | None
    encoding: Encoding
    limit: int | None
    ordered: bool
    key_id: str | None
    region: str | None
    endpoint: str | None
    emulator: bool
    data_dir: str | None
    profile: str | None
    credentials: str | None
    ca_file: str | None
    proxy: str | None
    rate: int | Literal["auto", "off"]
    reserve: float
    concurrency: int
    queue_size: int
    max_attempts: int
    timeout: float
    connect_timeout: float
    deadline: float
    outage_budget: float
    max_failures: MaxFailures
    fsync_interval: float
    progress: Literal["auto", "always", "never"]
    summary: Literal["text", "json"]
    log_level: str
    log_format: Literal["text", "json"]

    def fields(self) -> Fields:
        """Where the rows hold what."""
        named = (self.id_field, self.plaintext_field, self.key_field, self.context_field)
        return Fields(
            id=self.id_field or DEFAULT_FIELDS["id_field"],
            plaintext=self.plaintext_field or DEFAULT_FIELDS["plaintext_field"],
            key=self.key_field,
            context=self.context_field or DEFAULT_FIELDS["context_field"],
            encoding=self.encoding,
            required=frozenset(name for name in named if name),
        )

    def engine_options(self) -> EngineOptions:
        """The bounds of the run."""
        return EngineOptions(
            concurrency=self.concurrency,
            queue_records=self.queue_size,
            ordered=self.ordered,
            outage_budget_s=self.outage_budget,
            max_failures=self.max_failures,
            key_per_record=self.key_field is not None,
        )

    def retry_policy(self) -> RetryPolicy:
        """How rows are tried again."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            deadline_s=self.deadline,
            attempt_timeout_s=self.timeout,
        )

    def settings(self) -> dict[str, Any]:
        """What a manifest keeps: the options in force, as a job file would have them.

        Names of fields are those that were looked for, given or not; a proxy is without its
        password.
        """
        left_out = {"input", "output", "overwrite", "resume", "progress", "summary"}
        fields = self.fields()
        in_force = {
            "id_field": fields.id,
            "plaintext_field": fields.plaintext,
            "context_field": fields.context,
            "proxy": self.proxy and re.sub("//.*@", "//", self.proxy),
        }
        values = {
            option.field: option.write(in_force.get(option.field, getattr(self, option.field)))
            for option in COMMON
            if option.field not in left_out and getattr(self, option.field) is not None
        } | {name: value for name, value in in_force.items() if value is not None}
        return {name: _as_text(value) for name, value in values.items() if value is not None}


def _as_text(value: Any) -> Any:
    """The value; a path with bytes that are no UTF-8 with those written out."""
    if not isinstance(value, str):
        return value
    return os.fsencode(value).decode("utf-8", "backslashreplace")


def job_from(
    *,
    input_path: str | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: str | None,
    base: Mapping[str, Any] | None = None,
) -> JobSpec:
    """The job that the user described. Flags beat environment beats file beats default.

    `base` are settings of an earlier job that take the place of the defaults. `flags` maps
    field names to raw values, None where a flag was not given. Raises ConfigError, which names
    where a wrong value was written.
    """
    options = {option.field: option for option in COMMON}
    values: dict[str, Any] = {name: option.default for name, option in options.items()}
    for field, raw in (base or {}).items():
        if field in options:
            values[field] = _parsed(options[field], raw, f"the manifest's {field}")
    values["input"] = environ.get(_INPUT) or None
    config = config or environ.get(_CONFIG) or None
    if config is not None:
        values |= _from_file(config, options)
    values |= _from_environment(environ, options)
    for field, raw in flags.items():
        if raw is not None:
            values[field] = _parsed(options[field], raw, f"--{options[field].name}")
    if input_path is not None:
        values["input"] = input_path
    return _checked(values)


def _from_file(config: str, options: Mapping[str, Option]) -> dict[str, Any]:
    path = Path(config).expanduser()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the job file {config} cannot be read: {error.strerror}", hint="check --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{config} is no valid TOML: {error}",
            hint='write lines such as: rate = 300, key-id = "…"',
        ) from None
    return dict(_file_values(config, document, options))


def _file_values(
    config: str, document: Mapping[str, Any], options: Mapping[str, Option]
) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key, raw in document.items():
        field = key.replace("-", "_")
        if field in seen:
            raise ConfigError(
                f"{config}: {key!r} is there twice, with - and with _", hint="leave one of them out"
            )
        seen.add(field)
        if field == "input":
            if not isinstance(raw, str) or not raw:
                raise ConfigError(f"{config}: input takes a path", hint='write: input = "FILE"')
            yield field, raw
        elif field in options:
            yield field, _parsed(options[field], raw, f"{config}: {key}")
        else:
            names = ["input", *(option.name for option in options.values())]
            near = difflib.get_close_matches(field.replace("_", "-"), names, n=1, cutoff=0.0)
            raise ConfigError(
                f"{config}: there is no option {key!r}", hint=f"the nearest name is {near[0]!r}"
            )


def _from_environment(
    environ: Mapping[str, str], options: Mapping[str, Option]
) -> Iterator[tuple[str, Any]]:
    if region := environ.get("TENCENTCLOUD_REGION"):
        yield "region", region
    for field, option in options.items():
        raw = environ.get(option.variable)
        if raw:
            yield field, _parsed(option, raw, option.variable)
    known = {option.variable for option in options.values()} | {_CONFIG, _INPUT}
    for name in environ:
        if name.startswith("BATCHKMS_") and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            raise ConfigError(
                f"there is no option for the environment variable {name}",
                hint=f"the nearest name is {near[0]}",
            )


def _parsed(option: Option, raw: Any, origin: str) -> Any:
    try:
        return option.parse(raw)
    except BadValue as error:
        shown = "" if isinstance(raw, str) and len(raw) > 60 else f" (given: {raw!r})"
        raise ConfigError(f"{origin} {error}{shown}", hint="see --help") from None


def _checked(values: dict[str, Any]) -> JobSpec:
    """The whole, once every single value is right."""
    if values["input"] is None:
        raise ConfigError("no input was given", hint="name a file, or - for stdin")
    if values["output"] is None:
        raise ConfigError("no output was given", hint="add -o FILE, or -o - for stdout")
    if values["output"] == "-" and values["summary"] == "json":
        raise ConfigError(
            "results and summary cannot both go to stdout",
            hint="write the results to a file, or leave out --summary json",
        )
    if values["resume"] and values["overwrite"]:
        raise ConfigError(
            "--resume and --overwrite cannot go together",
            hint="--resume goes on with what is there, --overwrite throws it away",
        )
    _check_fields(values)
    if values["emulator"]:
        _check_emulator(values)
    else:
        _check_service(values)
    return JobSpec(**values)


def _check_fields(values: dict[str, Any]) -> None:
    """The plaintext must not be taken for anything that is written to the results."""
    roles = ("plaintext", "id", "context", "key")
    used = {role: values[f"{role}_field"] or DEFAULT_FIELDS.get(f"{role}_field") for role in roles}
    for role in ("id", "context", "key"):
        if used[role] == used["plaintext"]:
            raise ConfigError(
                f"the field {used[role]!r} is named for the plaintext and for the {role}",
                hint=f"name different ones with --plaintext-field and --{role}-field",
            )


def _check_emulator(values: dict[str, Any]) -> None:
    for field in ("endpoint", "profile", "credentials", "proxy", "ca_file"):
        if values[field] is not None:
            raise ConfigError(
                f"--emulator and --{field.replace('_', '-')} cannot go together",
                hint="--emulator starts a KMS of its own, with its own credentials; "
                "--no-emulator takes back what a job file or the environment says",
            )
    values["region"] = values["region"] or EMULATOR_REGION


def _check_service(values: dict[str, Any]) -> None:
    if values["data_dir"] is not None:
        raise ConfigError("--data-dir goes with --emulator", hint="leave one out, or add the other")
    if values["key_id"] is None and values["key_field"] is None:
        raise ConfigError(
            "no CMK was given",
            hint="add --key-id ID, or --key-field NAME if the rows name their own; to try "
            "without an account, add --emulator",
        )
    if values["region"] is None and values["endpoint"] is not None:
        host = urlsplit(parse_endpoint(values["endpoint"]).url).hostname
        if host is not None and is_loopback(host):
            values["region"] = EMULATOR_REGION
    if values["region"] is None:
        raise ConfigError(
            "no region was given",
            hint="add --region, such as ap-guangzhou, or set TENCENTCLOUD_REGION",
        )
