"""The rules that an emulator starts with: those of `--fault` and of `--fault-file`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchkms.emulator.faults.rule import Rule, parse_flag, parse_rule
from batchkms.errors import ConfigError

_SHAPE = "a fault file is TOML with one [[fault]] table per rule"


def read_rules(path: Path) -> list[Rule]:
    """The rules of a file, in its order. Raises ConfigError."""
    tables = _tables(path)
    return [parse_rule(table, f"{path}: fault {number}") for number, table in enumerate(tables, 1)]


def rules_of(flags: Iterable[str], path: Path | None) -> list[Rule]:
    """The rules of a file and then those of flags. Raises ConfigError."""
    return [*(read_rules(path) if path is not None else ()), *map(parse_flag, flags)]


def _tables(path: Path) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(
            f"the fault file {path} cannot be read: {error.strerror}",
            hint="name a file that exists and that you may read",
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(f"{path}: {reason}", hint=_SHAPE) from None
    tables = document.pop("fault", [])
    if document:
        raise ConfigError(f"{path}: there is no {next(iter(document))!r} here", hint=_SHAPE)
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: fault is no list of tables", hint=_SHAPE)
    return tables
