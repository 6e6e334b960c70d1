"""Which column of a CSV input holds what, from its header."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from batchkms.errors import InputError
from batchkms.sources.base import Fields

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}

_NEAR = 0.7
"""How alike a name must be to be suggested; below that it may be anything."""


class Columns:
    """The columns of a CSV input and where they are.

    `is_results` says that the header has the columns of a result file.
    """

    def __init__(self, names: Sequence[str], fields: Fields, *, where: str) -> None:
        """Raises InputError for a header that lacks a column or has it twice.

        `where` is the input and the line of its header, for the messages.
        """
        self.names = tuple(names)
        self.is_results = names.count("seq") == names.count("status") == 1
        self._where = where
        if any("\r" in name.replace("\r\n", "") for name in self.names):
            raise self._other_line_end()
        self._options = fields.options()
        for name, option in self._options.items():
            self._check(name, option, required=name in fields.needed())

    def position(self, name: str) -> int:
        """Where a column is, counted from 0; just after the last one if it is not there."""
        return self.names.index(name) if name in self.names else len(self.names)

    def _check(self, name: str, option: str, *, required: bool) -> None:
        count = self.names.count(name)
        if count > 1:
            raise InputError(
                f"{self._where}: {count} columns are named {name!r}",
                hint=f"give each column a name of its own, or choose another with {option}",
            )
        if required and not count:
            raise self._other_delimiter(name) or self._missing(name, option)

    def _other_line_end(self) -> InputError:
        return InputError(
            f"{self._where}: the lines end in a carriage return alone",
            hint="convert it: tr '\\r' '\\n' < FILE | batchkms … - --format csv",
        )

    def _other_delimiter(self, name: str) -> InputError | None:
        for delimiter, told in _OTHER_DELIMITERS.items():
            if len(self.names) == 1 and name in self.names[0].split(delimiter):
                return InputError(
                    f"{self._where}: the columns are separated by {told}",
                    hint="write the file anew with commas between the columns",
                )
        return None

    def _missing(self, name: str, option: str) -> InputError:
        alike = {known.casefold(): known for known in self.names}
        near = difflib.get_close_matches(name.casefold(), alike, n=1, cutoff=_NEAR)
        hint = f"is it {alike[near[0]]!r}? Then add" if near else "name it with"
        return InputError(
            f"{self._where}: there is no column {name!r}{self._told_names()}",
            hint=f"{hint} {option}; a file without a header line needs one",
        )

    def _told_names(self) -> str:
        """The names, unless none is one that was looked for.

        Then the file may have no header, and its first line a secret.
        """
        if not any(name in self.names for name in self._options):
            return f" among the {len(self.names):,} of the first line"
        return f"; there are {', '.join(repr(name[:40]) for name in self.names[:20])}"
