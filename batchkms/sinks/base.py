"""What an output format offers. A format turns Results into bytes and knows no files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from batchkms.records import Result


class Sink(Protocol):
    """One output format."""

    @property
    def format(self) -> str:
        """Its name, `jsonl` or `csv`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns beyond those of every result file: an operation's own, then kept ones."""

    def header(self) -> bytes:
        """What comes before the first row; may be empty."""

    def encode(self, results: Iterable[Result]) -> list[bytes]:
        """One row for each result, complete and ended."""
