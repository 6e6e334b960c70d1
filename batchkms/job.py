"""JobSpec: what to run, gathered from flags, environment, job file and defaults, and checked."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from batchkms.engine import EngineOptions
from batchkms.errors import ConfigError
from batchkms.failurerules import MaxFailures
from batchkms.jobrules import check
from batchkms.options import EVERY, OF_COMMAND, Address, BadValue, Option
from batchkms.options.load import Stages
from batchkms.records import MAX_ENVELOPE_BYTES, MAX_PLAINTEXT_BYTES
from batchkms.retry import RetryPolicy
from batchkms.shard import Shard
from batchkms.sources.base import DEFAULT_FIELDS, Encoding, Fields

READS_CIPHERTEXT = ("reencrypt", "decrypt")
"""Commands whose rows hold a ciphertext."""

_INPUT, _CONFIG = "BATCHKMS_INPUT", "BATCHKMS_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One batch job. The fields are the options of `options.EVERY`; times are in seconds.

    An option that its command does not have is at its default; `input` and `output` are empty
    where there is none. `given` are the fields of options that were given anywhere.
    """

    command: str
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
    transport: Literal["auto", "aiohttp", "wire"]
    rate: int | Literal["auto", "off"]
    reserve: float
    concurrency: int
    processes: int
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
    metrics: Address | None
    log_level: str
    log_format: Literal["text", "json"]
    dry_run: bool
    shard: Shard | None
    input_profile: str | None
    keep: tuple[str, ...] | None
    in_place_column: bool
    mode: Literal["direct", "envelope"]
    oversize: Literal["fail", "envelope"]
    data_key_rows: int
    data_key_bytes: int
    ciphertext_field: str | None
    destination_context_field: str | None
    source_region: str | None
    source_endpoint: str | None
    source_profile: str | None
    allow_stdout: bool
    against: str | None
    all: bool
    sample: int | None
    seed: int | None
    classes: tuple[str, ...] | None
    no_input: bool
    duration: float
    stages: Stages | None
    closed: bool
    max_connections: int
    warmup: float | None
    action: str
    payload_size: str
    signature: Literal["tc3", "v1"]
    slos: tuple[str, ...] | None
    slo_window: float | None
    abort_on_fail: bool
    find_max: bool
    max_rate: int | None
    lag_limit: float
    report: str | None
    junit: str | None
    hgrm: str | None
    given: frozenset[str] = frozenset()

    @property
    def envelope(self) -> bool:
        """Whether rows may be encrypted with data keys."""
        return "envelope" in (self.mode, self.oversize)

    @property
    def has_source(self) -> bool:
        """Whether ciphertexts come from another account, region or endpoint."""
        return bool(self.source_region or self.source_endpoint or self.source_profile)

    def fields(self) -> Fields:
        """Where the rows hold what."""
        named = (
            *(self.id_field, self.plaintext_field, self.key_field, self.context_field),
            *(self.ciphertext_field, self.destination_context_field, *(self.keep or ())),
        )
        sealed = self.reads_ciphertext
        return Fields(
            id=self.id_field or DEFAULT_FIELDS["id_field"],
            plaintext=self.plaintext_field or DEFAULT_FIELDS["plaintext_field"],
            key=self.key_field,
            context=self.context_field or DEFAULT_FIELDS["context_field"],
            encoding=self.encoding,
            required=frozenset(name for name in named if name),
            ciphertext=(self.ciphertext_field or DEFAULT_FIELDS["ciphertext_field"])
            if sealed
            else None,
            destination_context=self.destination_context_field,
            keep=self.keep or (),
        )

    @property
    def reads_ciphertext(self) -> bool:
        """Whether the rows of the input hold ciphertexts."""
        if self.command != "loadtest":
            return self.command in READS_CIPHERTEXT
        from batchkms.loadtest.mix import OF_CIPHERTEXTS, parse_mix

        return not parse_mix(self.action).keys().isdisjoint(OF_CIPHERTEXTS)

    @property
    def max_plaintext_bytes(self) -> int:
        """The longest plaintext that a row may have."""
        return MAX_ENVELOPE_BYTES if self.envelope else MAX_PLAINTEXT_BYTES

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
        left_out = {"input", "output", "overwrite", "resume", "dry_run"}
        left_out |= {"progress", "summary", "metrics"}
        in_force = {
            **{name: getattr(self, name) or default for name, default in DEFAULT_FIELDS.items()},
            "proxy": self.proxy and re.sub("//.*@", "//", self.proxy),
        }
        values: dict[str, Any] = {}
        for option in OF_COMMAND[self.command]:
            value = in_force.get(option.field, getattr(self, option.field))
            if option.field not in left_out and value is not None:
                values[option.field] = option.write(value)
        return {name: _as_text(value) for name, value in values.items() if value is not None}


def _as_text(value: Any) -> Any:
    """The value; a path with bytes that are no UTF-8 with those written out."""
    if not isinstance(value, str):
        return value
    return os.fsencode(value).decode("utf-8", "backslashreplace")


def job_from(
    *,
    command: str,
    input_path: str | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: str | None,
    base: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
) -> JobSpec:
    """The job that the user described. Flags beat environment beats file beats default.

    `base` are settings of an earlier job that take the place of the defaults. `flags` maps
    field names to raw values, None where a flag was not given. `file` are values of a job file
    that was read already (see `file_values`); no other one is looked for then. Raises
    ConfigError, which names where a wrong value was written.
    """
    options = {option.field: option for option in OF_COMMAND[command]}
    values: dict[str, Any] = {option.field: option.default for option in EVERY}
    values |= {name: option.default for name, option in options.items()}
    for field, raw in (base or {}).items():
        if field in options:
            values[field] = _parsed(options[field], raw, f"the manifest's {field}")
    values["input"] = environ.get(_INPUT) or None
    config = config or environ.get(_CONFIG) or None
    given: dict[str, Any] = dict(file or {})
    if config is not None and file is None:
        given |= file_values(config, read_job_file(config), options.values())
    given |= _from_environment(environ, options)
    for field, raw in flags.items():
        if raw is not None:
            given[field] = _parsed(options[field], raw, f"--{options[field].name}")
    values |= given
    if input_path is not None:
        values["input"] = input_path
    check(command, values, frozenset(given))
    paths = {name: values[name] or "" for name in ("input", "output")}
    return JobSpec(command=command, given=frozenset(given), **{**values, **paths})


def read_job_file(config: str) -> dict[str, Any]:
    """The content of a job file. Raises ConfigError."""
    path = Path(config).expanduser()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the job file {config} cannot be read: {error.strerror}", hint="check its path"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{config} is no valid TOML: {error}",
            hint='write lines such as: rate = 300, key-id = "…"',
        ) from None
    except RecursionError:
        raise ConfigError(
            f"{config} is no valid TOML: it is nested too deeply",
            hint='write lines such as: rate = 300, key-id = "…"',
        ) from None


def file_values(
    where: str, table: Mapping[str, Any], options: Iterable[Option], *, more: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of a table of a job file, `where` for messages, by the fields of the options.

    Raises ConfigError for a key that is no option of these, and for a wrong value; `more` are
    other keys that could have been meant.
    """
    by_key = {option.key: option for option in options}
    values: dict[str, Any] = {}
    for written, raw in table.items():
        key = written.replace("-", "_")
        field = by_key[key].field if key in by_key else key
        if field in values:
            raise ConfigError(
                f"{where}: {written!r} is there twice, with - and with _",
                hint="leave one of them out",
            )
        if key in by_key:
            values[field] = _parsed(by_key[key], raw, f"{where}: {written}")
        elif key == "input":
            if not isinstance(raw, str) or not raw:
                raise ConfigError(f"{where}: input takes a path", hint='write: input = "FILE"')
            values[field] = raw
        else:
            names = ["input", *more, *(option.name for option in by_key.values())]
            raise _no_such_key(where, written, names)
    return values


def _no_such_key(where: str, written: str, names: Sequence[str]) -> ConfigError:
    if written == "step":
        return ConfigError(
            f"{where} is a list of steps, and this command is one step",
            hint=f"run them all: batchkms run {where}",
        )
    if re.search("secret|token|password", written, re.IGNORECASE):
        return ConfigError(
            f"{where}: there is no option {written!r}",
            hint="credentials are never options: set TENCENTCLOUD_SECRET_ID and "
            "TENCENTCLOUD_SECRET_KEY, or name a file or profile with credentials or profile",
        )
    near = difflib.get_close_matches(written.replace("_", "-"), names, n=1, cutoff=0.0)
    return ConfigError(
        f"{where}: there is no option {written!r}", hint=f"the nearest name is {near[0]!r}"
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
    known = {option.variable for option in EVERY} | {_CONFIG, _INPUT}
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
        faulty = raw if error.given is None else error.given
        shown = "" if isinstance(faulty, str) and len(faulty) > 60 else f" (given: {faulty!r})"
        raise ConfigError(f"{origin} {error}{shown}", hint="see --help") from None
