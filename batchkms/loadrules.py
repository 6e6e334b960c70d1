"""What must hold of a load test as a whole, once every single value is right."""

from __future__ import annotations

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
    if values["output"] == "-" and values["summary"] == "json":
        raise ConfigError(
            "calls and summary cannot both go to stdout",
            hint="write the calls to a file, or leave out --summary json",
        )
    _check_files(values)


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
    """Every file that is written is another one."""
    seen: dict[str, str] = {}
    for field in ("output", "report", "junit", "hgrm"):
        path = values[field]
        if path in seen:
            raise ConfigError(
                f"--{seen[path]} and --{field} name the same file", hint="name different ones"
            )
        if path is not None:
            seen[path] = field
        if path == "-" and field != "output":
            raise ConfigError(f"--{field} takes a file", hint="name one")
    if values["input"] is not None and values["input"] in seen and values["input"] != "-":
        raise ConfigError(
            f"--{seen[values['input']]} {values['input']} is the input itself",
            hint="name another file",
        )
