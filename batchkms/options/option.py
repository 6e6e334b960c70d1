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
    repeated: bool = False
    """Whether the flag may be given several times; then `parse` is given all of them."""
    shown_default: str | None = None
    stored_as: str | None = None

    @property
    def field(self) -> str:
        """The name of its field in JobSpec; `stored_as` where its own is a word of Python."""
        return self.stored_as or self.key

    @property
    def key(self) -> str:
        """Its name with underscores, as a job file may have it as well."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that gives it."""
        return f"BATCHKMS_{self.key.upper()}"
