"""How a command ends: its summary as text on stderr or as JSON on stdout, and its exit code."""

from __future__ import annotations

from typing import Any, Protocol

import click

from batchkms.cli.logs import ascii_json
from batchkms.cli.main import printable, tell
from batchkms.cli.streams import put, say
from batchkms.errors import BatchKmsError
from batchkms.reporting.summary import Exit

summary_option = click.option(
    "--summary",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Final summary: text on stderr, or json on stdout.",
)
"""`--summary` of the commands that take no job; those that do have it in their options."""


class Telling(Protocol):
    """What there is to tell."""

    @property
    def exit_code(self) -> Exit:
        """The exit code of the command."""

    @property
    def error(self) -> BatchKmsError | None:
        """What stopped it, if anything did."""

    def as_text(self) -> list[str]:
        """The summary for people, line by line."""

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""


def told(summary: Telling, how: str, *, of: str) -> int:
    """Tells a summary, `text` or `json`, and returns the exit code. `of` is what was read."""
    if summary.error is not None:
        # What is to be done next is told last, and says "when that is mended".
        tell(str(summary.error), summary.error.hint, 0)
    if how == "text":
        for line in summary.as_text():
            say(f"batchkms: {printable(line)}")
    if summary.error is None and summary.exit_code is Exit.NO_RECORDS:
        hint = "check that it is the right file"
        if of == "share":
            hint = "the input has fewer rows than there are shares: merge this with the others"
        tell(f"the {of} held no records", hint, 0)
    if how == "json":
        put(ascii_json(summary.as_json()))
    return int(summary.exit_code)
