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
from batchkms.records import Result

_FIELDS = msgspec.structs.fields(Result)

COLUMNS = tuple(field.encode_name for field in _FIELDS)
"""The header."""

_READ = tuple((field.name, field.encode_name in GUARDED_COLUMNS) for field in _FIELDS)


class CsvSink:
    """Writes Results as CSV in UTF-8."""

    format = "csv"

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._table = csv.writer(self._text, lineterminator="\r\n")

    def header(self) -> bytes:
        """The names of the columns."""
        return self._row(COLUMNS)

    def encode(self, results: Iterable[Result]) -> list[bytes]:
        """One row for each result, ended by CR LF."""
        return [self._row(_cells(result)) for result in results]

    def _row(self, cells: Iterable[str]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        self._table.writerow(cells)
        return self._text.getvalue().encode()


def _cells(result: Result) -> list[str]:
    cells: list[str] = []
    for name, guarded in _READ:
        value = getattr(result, name)
        text = "" if value is None else str(value)
        cells.append(guard(text) if guarded else text)
    return cells
