"""Results as CSV: RFC 4180, all columns in the order of `Result`, an empty cell for nothing.

What comes from outside (ids, messages) is guarded against being run as a formula; see
`batchkms.csvtext`. Ciphertext and encryption context are written as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import msgspec

from batchkms.csvtext import GUARDED_COLUMNS, guard
from batchkms.records import BASE_COLUMNS, Result

_NAMES = {field.encode_name: field.name for field in msgspec.structs.fields(Result)}
"""Column to field."""


class CsvSink:
    """Writes Results as CSV in UTF-8: the columns of every result file, then `columns`."""

    format = "csv"

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        self.columns = columns
        self._fields = [
            (_NAMES[name], name in GUARDED_COLUMNS)
            for name in (*BASE_COLUMNS, *columns)
            if name in _NAMES
        ]
        self._kept = [name for name in columns if name not in _NAMES]
        self._text = io.StringIO(newline="")
        self._table = csv.writer(self._text, lineterminator="\r\n")

    def header(self) -> bytes:
        """The names of the columns."""
        return self._row((*BASE_COLUMNS, *self.columns))

    def encode(self, results: Iterable[Result]) -> list[bytes]:
        """One row for each result, ended by CR LF."""
        return [self._row(self._cells(result)) for result in results]

    def _row(self, cells: Iterable[str]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        self._table.writerow(cells)
        return self._text.getvalue().encode()

    def _cells(self, result: Result) -> list[str]:
        cells: list[str] = []
        for name, guarded in self._fields:
            value = getattr(result, name)
            text = (
                ""
                if value is None
                else str(value).lower()
                if value is True or value is False
                else str(value)
            )
            cells.append(guard(text) if guarded else text)
        kept = result.kept or {}
        return cells + [_text(kept.get(name)) for name in self._kept]


def _text(value: object) -> str:
    """A value of another column: text as it is, anything else as its JSON."""
    if value is None:
        return ""
    if isinstance(value, msgspec.Raw):
        value = (
            msgspec.json.decode(value) if bytes(value).startswith(b'"') else bytes(value).decode()
        )
    return str(value)
