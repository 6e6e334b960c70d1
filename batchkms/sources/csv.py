"""CSV: RFC 4180 with a header line, in UTF-8."""

from __future__ import annotations

from batchkms.csvtext import GUARDED_COLUMNS, unguard
from batchkms.records import MAX_PLAINTEXT_BYTES, Record, Result
from batchkms.sources.base import Fields
from batchkms.sources.csvrows import CsvRows
from batchkms.sources.header import Columns
from batchkms.sources.passed import is_result_row, passed_on
from batchkms.sources.rows import RowMapper


class CsvReader(CsvRows):
    """Reads the rows of a CSV input (`reading.RowReader`). `seq` counts those after the header."""

    def __init__(
        self,
        fields: Fields,
        *,
        needs_key: bool,
        name: str,
        longest_row_bytes: int,
        max_plaintext_bytes: int = MAX_PLAINTEXT_BYTES,
    ) -> None:
        super().__init__(name=name, longest_row_bytes=longest_row_bytes)
        self._fields = fields
        self._map = RowMapper(
            fields, needs_key=needs_key, max_plaintext_bytes=max_plaintext_bytes
        ).from_values
        self._columns: Columns

    def _header(self, names: list[str], *, where: str) -> None:
        self._columns = Columns(names, self._fields, where=where)

    def _mapped(self, cells: list[str], line: int) -> tuple[Record | Result]:
        columns = self._columns
        self._seq += 1
        seq = self._seq
        if columns.is_results:
            row = _result_row(columns.names, cells)
            if is_result_row(row):
                kept = passed_on(row, seq, line, lax=True)
                if isinstance(kept, Result):
                    return (kept,)
                seq = kept
                cells = [row.get(name, "") for name in columns.names]
        found: list[str | None] = [*cells, None]
        return (
            self._map(
                seq,
                line,
                found[columns.id],
                found[columns.plaintext],
                found[columns.key],
                found[columns.context],
            ),
        )


def _result_row(names: tuple[str, ...], cells: list[str]) -> dict[str, str]:
    return {
        name: unguard(cell) if name in GUARDED_COLUMNS else cell
        for name, cell in zip(names, cells, strict=True)
        if cell
    }
