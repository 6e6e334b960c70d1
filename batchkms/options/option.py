"""What an option is, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchkms.options.values import Parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: `--name` as a flag, `BATCHKMS_NAME` in the environment, `name` in a file."""

    name: str
    parse: Parser
    write: Callable[[Any], Any] = lambda value: value
    """What `parse` makes the same value of; a JSON value."""
    help: str
    default: Any = None
    metavar: str = "TEXT"
    short: str | None = None
    switch: bool = False
    shown_default: str | None = None

    @property
    def field(self) -> str:
        """The name of its field in JobSpec."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that gives it."""
        return f"BATCHKMS_{self.field.upper()}"
