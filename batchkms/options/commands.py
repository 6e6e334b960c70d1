"""Which command takes which options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from batchkms.options.common import COMMON
from batchkms.options.load import LOAD
from batchkms.options.option import Option
from batchkms.options.own import (
    ALLOW_STDOUT,
    CIPHERTEXT_FIELD,
    CLASS,
    DRY_RUN,
    ENVELOPE,
    IN_PLACE_COLUMN,
    INPUT_PROFILE,
    KEEP,
    NO_INPUT,
    OLD_FAILING_ROWS,
    REENCRYPT,
    SEED,
    VERIFY,
)
from batchkms.options.values import MAX_RATE, whole
from batchkms.quota import DEFAULT_PER_SECOND, Group

_RUNNING = (
    *("overwrite", "resume", "output-format", "ordered", "queue-size", "max-failures"),
    *("fsync-interval", "processes"),
)
"""Options of a run that writes results."""

_PLAINTEXT = ("plaintext-field", "encoding")

_OF_THE_ROWS = (
    *("format", "output-format", "id-field", *_PLAINTEXT, "key-field", "context-field"),
    *("limit", "ordered"),
)
"""Options that say what one input and its results are."""

PER_JOB = ("output", *_OF_THE_ROWS)
"""Options that `run` does not take as flags: a step of its own says them."""


def _only(*names: str) -> tuple[Option, ...]:
    return tuple(option for option in COMMON if option.name in names)


def _common(*, without: Iterable[str] = ()) -> tuple[Option, ...]:
    return tuple(option for option in COMMON if option.name not in set(without))


def _paced(options: tuple[Option, ...], group: Group) -> tuple[Option, ...]:
    """The options, with the rate that the group's quota allows by default."""
    default = DEFAULT_PER_SECOND[group]
    return tuple(
        replace(option, default=default) if option.name == "rate" else option for option in options
    )


_LOADTEST = _only(
    *("output", "overwrite", "format", *_PLAINTEXT, "key-field", "context-field"),
    *("key-id", "region", "endpoint", "emulator", "data-dir", "profile", "credentials"),
    *("ca-file", "rate", "concurrency", "max-attempts", "timeout", "connect-timeout", "deadline"),
    *("progress", "summary", "log-level", "log-format", "metrics"),
)


def _for_loadtest(options: tuple[Option, ...]) -> tuple[Option, ...]:
    """The same options, where a load test takes other values or means something else."""
    changed: dict[str, dict[str, Any]] = {
        "output": {"help": "Write one line of JSON for each call; - is stdout, also .gz."},
        "format": {"help": "Format of INPUT."},
        "rate": {
            "parse": whole(1, MAX_RATE),
            "metavar": "N",
            "shown_default": "300; 50 to begin with for --find-max",
            "help": "Calls per second, with --find-max those to begin with.",
        },
        "concurrency": {"help": "With --closed: calls under way at any time."},
        "max-attempts": {"default": 1, "help": "Calls for one that is due; more than 1 retries."},
        "dry-run": {"help": "Say the schedule, calls, endpoint and files; send nothing."},
        "deadline": {"help": "With --max-attempts: for all attempts of a call."},
    }
    return tuple(replace(option, **changed.get(option.name, {})) for option in options)


OF_COMMAND: dict[str, tuple[Option, ...]] = {
    "encrypt": (*_common(), DRY_RUN, INPUT_PROFILE, KEEP, IN_PLACE_COLUMN, *ENVELOPE),
    "reencrypt": (
        *_paced(_common(without=_PLAINTEXT), Group.REENCRYPT),
        DRY_RUN,
        KEEP,
        CIPHERTEXT_FIELD,
        *REENCRYPT,
    ),
    "decrypt": (
        *_common(without=(*_PLAINTEXT, "key-id", "key-field")),
        DRY_RUN,
        KEEP,
        CIPHERTEXT_FIELD,
        ALLOW_STDOUT,
    ),
    "check": (
        *_common(without=(*_RUNNING, "metrics")),
        *OLD_FAILING_ROWS,
        INPUT_PROFILE,
        *ENVELOPE,
    ),
    "verify": (
        *_common(without=(*_RUNNING, "output", "key-id", "key-field", "limit")),
        DRY_RUN,
        INPUT_PROFILE,
        *VERIFY,
        SEED,
    ),
    # What the run was about is in its manifest.
    "retry": (*_common(without=(*_OF_THE_ROWS, "overwrite", "key-id")), DRY_RUN, CLASS),
    "audit": (*_only("output", "summary"), NO_INPUT),
    "inspect": _only("format", "summary"),
    "loadtest": (
        *_for_loadtest((*_LOADTEST, DRY_RUN)),
        INPUT_PROFILE,
        CIPHERTEXT_FIELD,
        *LOAD,
        SEED,
    ),
}

# Of those with one name the first: a load test takes less of some.
_BY_NAME = {option.name: option for options in reversed(OF_COMMAND.values()) for option in options}

EVERY: tuple[Option, ...] = tuple(_BY_NAME.values())
"""Each option once."""
