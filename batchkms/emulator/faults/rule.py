"""A fault rule: which calls it hits, what goes wrong with them, and how it is written.

A rule is a table of the same fields in a TOML file, in `--fault field=value,…` and in the JSON
of `POST /_emulator/faults`. Errors name the rule, the field and what to write.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchkms.emulator.actions import ACTIONS
from batchkms.emulator.faults import fields
from batchkms.emulator.faults.fields import BadField, Calls, Latency
from batchkms.errors import ConfigError

REFUSE, RESET_BEFORE, RESET_IN, RESET_AFTER = "refuse", "reset-before", "reset-in", "reset-after"
HANG, CUT, GARBAGE = "hang", "cut", "garbage"
NO_REQUEST_ID, BAD_REQUEST_ID, OTHER_KEY_ID = "no-request-id", "bad-request-id", "other-key-id"
ECHO, UNDECODABLE = "echo", "undecodable"

EFFECTS = (
    *(REFUSE, RESET_BEFORE, RESET_IN, RESET_AFTER, HANG, CUT, GARBAGE),
    *(NO_REQUEST_ID, BAD_REQUEST_ID, OTHER_KEY_ID, ECHO, UNDECODABLE),
)
UNANSWERED = frozenset((REFUSE, RESET_BEFORE, HANG, GARBAGE))
"""The effects that keep the action from being carried out at all."""

ON_THE_WIRE = UNANSWERED | {RESET_IN, RESET_AFTER, CUT}
"""The effects that need the connection, so that the HTTP side carries them out."""

_LASTING = (REFUSE, HANG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `written` holds its fields as they were given, to be shown again.

    Conditions that are None or empty hold for every call; all that are given must hold. The
    calls that `actions`, `keys` and `credentials` leave are numbered from 1 for this rule, and
    `calls` and `every` speak of those numbers. `for_s` is how long `refuse`, `hang` or a changed
    quota lasts, None for the effect's own default.
    """

    written: Mapping[str, Any]
    actions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    calls: Calls | None = None
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    code: str | None = None
    message: str | None = None
    http: int | None = None
    effect: str | None = None
    latency: Latency | None = None
    changes_quota: bool = False
    quota: int | None = None
    for_s: float | None = None


_PARSERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "action": ("actions", fields.texts),
    "key": ("keys", fields.texts),
    "credential": ("credentials", fields.texts),
    "calls": ("calls", fields.calls),
    "every": ("every", fields.whole(1, fields.MAX_CALL)),
    "probability": ("probability", fields.probability),
    "times": ("times", fields.whole(1, fields.MAX_CALL)),
    "code": ("code", fields.text),
    "message": ("message", fields.text),
    "http": ("http", fields.whole(400, 599)),
    "effect": ("effect", fields.one_of(EFFECTS)),
    "latency": ("latency", fields.latency),
    "quota": ("quota", fields.quota),
    "for": ("for_s", fields.duration),
}
"""The fields of a rule as written: the attribute that each becomes, and its parser."""

_OUTCOMES = ("code", "http", "effect", "quota")


def parse_rule(written: Mapping[str, Any], where: str) -> Rule:
    """The rule that a table describes. `where` names it in errors. Raises ConfigError."""
    values: dict[str, Any] = {}
    for name, value in written.items():
        if name not in _PARSERS:
            raise _no_such_field(name, where)
        attribute, parse = _PARSERS[name]
        try:
            values[attribute] = parse(value)
        except BadField as error:
            raise ConfigError(
                f"{where}: {name} cannot be {value!r}", hint=f"{name} {error}"
            ) from None
    for action in values.get("actions", ()):
        if action not in ACTIONS:
            raise _no_such_action(action, where)
    _check_together(written, where)
    return Rule(written=dict(written), changes_quota="quota" in written, **values)


def parse_flag(text: str) -> Rule:
    """The rule of one `--fault field=value,…`. Raises ConfigError."""
    where = f"--fault {text}"
    written: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"{where}: {part!r} is no field=value",
                hint="write fields such as action=Encrypt,code=InternalError,probability=0.05; "
                "a value with a comma in it needs --fault-file",
            )
        if name.strip() in written:
            raise ConfigError(f"{where}: {name.strip()} is given twice", hint="give it once")
        written[name.strip()] = value.strip()
    return parse_rule(written, where)


def _check_together(written: Mapping[str, Any], where: str) -> None:
    outcomes = [name for name in _OUTCOMES if name in written]
    # An echo is an error of any code whose message quotes the request.
    if outcomes == ["code", "effect"] and written["effect"] == ECHO:
        outcomes = ["effect"]
    if len(outcomes) > 1:
        raise ConfigError(
            f"{where}: {outcomes[0]} and {outcomes[1]} exclude each other",
            hint="write two rules; the first one that hits a call is carried out",
        )
    if not outcomes and "latency" not in written:
        raise ConfigError(
            f"{where}: nothing goes wrong in it",
            hint="add code=InternalError, http=503, effect=hang, latency=100ms or quota=50",
        )
    if "message" in written and "code" not in written:
        raise ConfigError(f"{where}: message goes with code only", hint="add code=InternalError")
    if "message" in written and written.get("effect") == ECHO:
        raise ConfigError(
            f"{where}: message and effect=echo exclude each other", hint="leave one out"
        )
    lasting = written.get("effect") in _LASTING or "quota" in written
    if "for" in written and not lasting:
        raise ConfigError(
            f"{where}: for goes with effect=refuse, effect=hang and quota only",
            hint="leave it out, or write latency=… to answer late",
        )


def _no_such_field(name: str, where: str) -> ConfigError:
    near = difflib.get_close_matches(name, _PARSERS, n=1, cutoff=0.0)
    return ConfigError(f"{where}: there is no field {name!r}", hint=f"the nearest is {near[0]!r}")


def _no_such_action(action: str, where: str) -> ConfigError:
    near = difflib.get_close_matches(action, ACTIONS, n=1, cutoff=0.0)
    return ConfigError(
        f"{where}: action cannot be {action!r}, which this emulator does not know",
        hint=f"the nearest action is {near[0]!r}",
    )
