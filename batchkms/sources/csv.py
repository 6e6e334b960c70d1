"""CSV: RFC 4180 with a header line, in UTF-8."""

from __future__ import annotations

from collections.abc import Sequence

from batchkms.csvtext import GUARDED_COLUMNS, unguard
from batchkms.records import Record, Result
from batchkms.sources.base import Fields
from batchkms.sources.csvrows import CsvRows
from batchkms.sources.header import Columns
from batchkms.sources.mapping import Mapper
from batchkms.sources.passed import is_result_row


class CsvReader(CsvRows):
    """Reads the rows of a CSV input (`reading.RowReader`). `seq` counts those after the header."""

    def __init__(
        self, mapper: Mapper, fields: Fields, *, name: str, longest_row_bytes: int
    ) -> None:
        super().__init__(name=name, longest_row_bytes=longest_row_bytes)
        self._mapper = mapper
        self._fields = fields
        self._columns: Columns | None = None
        self._read: list[int] = []
        self._kept: list[tuple[str, int]] = []

    @property
    def may_be_results(self) -> bool:
        """Whether the header has the columns of a result file."""
        return self._columns is None or self._columns.is_results

    @property
    def first_own(self) -> int | None:
        """The ordinal of the first row that brought a `seq` of its own."""
        return self._mapper.first_own

    def _header(self, names: list[str], *, where: str) -> None:
        columns = self._columns = Columns(names, self._fields, where=where)
        self._read = [columns.position(name) for name in self._mapper.columns]
        self._kept = [
            (name, columns.position(name)) for name in self._fields.keep if name in columns.names
        ]

    def _mapped(self, cells: list[str], line: int) -> tuple[Record | Result]:
        self._seq += 1
        seq = self._seq
        kept = {name: cells[at] for name, at in self._kept} or None
        if self._columns is not None and self._columns.is_results:
            row = result_cells(self._columns.names, cells)
            if is_result_row(row):
                own = self._mapper.own_seq(row, seq, line, kept, lax=True)
                if isinstance(own, Result):
                    return (own,)
                seq = own
                cells = [row.get(name, "") for name in self._columns.names]
        found: list[str | None] = [*cells, None]
        values = [found[at] for at in self._read]
        return (self._mapper.from_values(seq, line, values, kept),)


def result_cells(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """A row of a result file by its columns, without empty cells, as its values were."""
    return {
        name: unguard(cell) if name in GUARDED_COLUMNS else cell
        for name, cell in zip(names, cells, strict=True)
        if cell
    }
