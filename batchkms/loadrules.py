"""What must hold of a load test as a whole, once every single value is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchkms.errors import ConfigError

Values = dict[str, Any]

_LONGEST_S = 30 * 24 * 3600.0
"""A month; what is longer is a slip of the pen."""


_WITHOUT = {
    "--stage": ("rate", "duration"),
    "--closed": ("rate", "max_connections"),
    "--find-max": ("duration", "warmup", "slo_window", "abort_on_fail"),
}
"""Options that mean nothing beside these."""


def check_load(values: Values, given: frozenset[str]) -> None:
    """Raises ConfigError for a combination that makes no sense."""
    _check_model(values, given)
    _check_time(values)
    if values["abort_on_fail"] and not values["slos"]:
        raise ConfigError("--abort-on-fail needs an SLO", hint="add --slo 'p99<50ms'")
    if values["slo_window"] is not None and not values["slos"]:
        raise ConfigError("--slo-window needs an SLO", hint="add --slo 'p99<50ms'")
    if values["input"] is not None and "payload_size" in given:
        raise ConfigError(
            "an input and --payload-size cannot go together: the rows say what is sent",
            hint="leave one of them out",
        )
    _check_together(values, given)
    if values["output"] == "-" and values["summary"] == "json":
        raise ConfigError(
            "calls and summary cannot both go to stdout",
            hint="write the calls to a file, or leave out --summary json",
        )
    _check_files(values)


def _check_together(values: Values, given: frozenset[str]) -> None:
    """Options that mean nothing without another one, and processes with nothing to do."""
    if "deadline" in given and values["max_attempts"] == 1:
        raise ConfigError(
            "--deadline goes with --max-attempts: without it nothing is tried again",
            hint="add --max-attempts N, or leave out --deadline; --timeout is for one call",
        )
    if "key_field" in given and values["input"] is None:
        raise ConfigError(
            "--key-field goes with an input: it names a field of its rows",
            hint="name a file, or give the CMK with --key-id",
        )
    most = "concurrency" if values["closed"] else "max_connections"
    if values["processes"] > values[most]:
        raise ConfigError(
            f"{values['processes']:,} processes cannot share {values[most]:,} "
            f"{'call' if values['closed'] else 'connection'}{'' if values[most] == 1 else 's'}",
            hint=f"ask for fewer --processes, or more with --{most.replace('_', '-')}",
        )


def _check_model(values: Values, given: frozenset[str]) -> None:
    """Open by rate or by stages, closed, or a search: only one of them."""
    named = {"stages": "--stage", "closed": "--closed", "find_max": "--find-max"}
    chosen = [flag for field, flag in named.items() if values[field]]
    if len(chosen) > 1:
        raise ConfigError(
            f"{chosen[0]} and {chosen[1]} cannot go together", hint="leave one of them out"
        )
    for flag, fields in _WITHOUT.items():
        given_too = [field for field in fields if field in given and values[field] is not False]
        if flag in chosen and given_too:
            raise ConfigError(
                f"{flag} and --{given_too[0].replace('_', '-')} cannot go together",
                hint="leave one of them out",
            )
    if "concurrency" in given and not values["closed"]:
        raise ConfigError(
            "--concurrency goes with --closed", hint="add --closed, or leave out --concurrency"
        )
    if values["max_rate"] is not None and not values["find_max"]:
        raise ConfigError(
            "--max-rate goes with --find-max", hint="add --find-max, or leave out --max-rate"
        )
    if values["stages"] and not any(first + last for _, first, last in values["stages"]):
        raise ConfigError("the stages ask for no call at all", hint="give one of them a rate")


def _check_time(values: Values) -> None:
    if values["stages"]:
        total_s = sum(seconds for seconds, _, _ in values["stages"])
    else:
        total_s = values["duration"]
    if total_s > _LONGEST_S:
        raise ConfigError("a load test takes 30 days at the most", hint="give a shorter time")
    if values["warmup"] is not None and values["warmup"] >= total_s:
        raise ConfigError(
            "the warm-up takes all of the time, so that there would be no figures",
            hint="make --warmup shorter than the test",
        )


def _check_files(values: Values) -> None:
    """Every file that is written is another one, however its path is written."""
    for field in ("report", "junit", "hgrm"):
        if values[field] == "-":
            raise ConfigError(f"--{field} takes a file", hint="name one")
    seen: dict[str, str] = {}
    for label, path in _written(values):
        other = seen.setdefault(_resolved(path), label)
        if other != label:
            raise ConfigError(f"{other} and {label} name the same file", hint="name different ones")
    source = values["input"]
    written = None if source in (None, "-") else seen.get(_resolved(source))
    if written is not None:
        raise ConfigError(f"{written} {source} is the input itself", hint="name another file")


def _written(values: Values) -> Iterator[tuple[str, str]]:
    """What each file is, and its path."""
    from batchkms.loadtest.hgrm import send_path
    from batchkms.loadtest.runrecord import record_path

    output = values["output"]
    if output and output != "-":
        yield "--output", output
        yield "the unfinished --output", f"{output}.partial"
        yield "the record of --output", str(record_path(Path(output)))
    for field in ("report", "junit", "hgrm"):
        if values[field]:
            yield f"--{field}", values[field]
    if values["hgrm"]:
        yield "the second file of --hgrm", str(send_path(Path(values["hgrm"])))


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        # What is no path at all is refused when the file is looked at.
        return path
