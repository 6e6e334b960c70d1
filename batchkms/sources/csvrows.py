"""The rows of a CSV input (RFC 4180, a header line, UTF-8), whatever they are made into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from batchkms.errors import InputBroken, InputError
from batchkms.records import Record, Result, rejected
from batchkms.sources.lines import LineSplitter, Piece
from batchkms.sources.quotes import QuoteScanner, is_plainly_quoted, split_cells
from batchkms.sources.reading import Rows, batched


class CsvRows(ABC):
    """Finds the rows of a CSV input and their cells (`reading.RowReader`).

    What they are made into, a subclass says. `line` counts the physical lines of the file.
    Lines that hold nothing are no rows.
    """

    def __init__(self, *, name: str, longest_row_bytes: int) -> None:
        self._name = name
        self._longest_row_bytes = longest_row_bytes
        self._splitter = LineSplitter(longest_row_bytes)
        self._width = 0
        self._lines = 0
        self._seq = 0
        # The row under way: its lines so far, their size, and the line it began on (0: none).
        self._quotes = QuoteScanner()
        self._parts: list[bytes] = []
        self._size_bytes = 0
        self._too_long = False
        self._row_line = 0
        # The newline of the last line is no part of the row.
        self._most_held_bytes = longest_row_bytes + 1

    @abstractmethod
    def _header(self, names: list[str], *, where: str) -> None:
        """Takes the names of the columns. Raises InputError if they will not do.

        `where` is the input and the line of its header, for the messages.
        """

    @abstractmethod
    def _mapped(self, cells: list[str], line: int) -> Iterable[Record | Result]:
        """What a row is made into. It has as many cells as there are names."""

    @property
    def line(self) -> int:
        """The line on which the row began that is not complete yet."""
        return self._row_line or self._lines + 1

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the rows that this chunk completes.

        Raises InputError for a header that cannot be used, and InputBroken where a quoted cell
        goes wrong that spans lines.
        """
        return batched(self._rows(self._splitter.feed(chunk)))

    def end(self) -> Iterator[Rows]:
        """Yields the last row. Raises InputBroken if a quote was never closed."""
        yield from batched(self._rows(self._splitter.end()))
        if self._row_line:
            raise self._untrusted("a quoted cell of this row is never closed")

    def _rows(self, parts: Iterable[list[bytes] | Piece]) -> Iterator[Record | Result]:
        for part in parts:
            if isinstance(part, Piece):
                self._begin_row()
                self._hold(part.data, too_long=True)
                if part.last:
                    yield from self._line_ended()
                continue
            for text in part:
                if self._row_line or (b'"' in text and not is_plainly_quoted(text.rstrip(b"\r"))):
                    self._begin_row()
                    self._hold(text)
                    yield from self._line_ended()
                    continue
                self._lines += 1
                if text.rstrip(b"\r"):
                    yield from self._row(text, self._lines)

    def _begin_row(self) -> None:
        if not self._row_line:
            self._row_line = self._lines + 1

    def _hold(self, piece: bytes, *, too_long: bool = False) -> None:
        self._quotes.feed(piece)
        self._size_bytes += len(piece) + 1
        self._too_long = self._too_long or too_long or self._size_bytes > self._most_held_bytes
        if self._too_long:
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _line_ended(self) -> Iterator[Record | Result]:
        """The row, unless it goes on in the next line."""
        self._lines += 1
        malformed = self._quotes.malformed
        if malformed and self._quotes.spans:
            raise self._untrusted("text follows the closing quote of a cell of this row")
        if self._quotes.end_line():
            return
        text, too_long, line = b"\n".join(self._parts), self._too_long, self._row_line
        self._quotes.reset()
        self._parts.clear()
        self._size_bytes = self._row_line = 0
        self._too_long = False
        if malformed and not too_long:
            yield self._bad_row("InvalidCsvRow", line, "text follows the closing quote of a cell")
        elif too_long:
            reason = f"the row has more than {self._longest_row_bytes:,} bytes"
            yield self._bad_row("RowTooLong", line, f"{reason}; take out what is not needed of it")
        else:
            yield from self._row(text, line)

    def _row(self, text: bytes, line: int) -> Iterator[Record | Result]:
        try:
            # More than one CR is what text mode on Windows makes of the CRLF of a CSV writer.
            cells = _cells(text.rstrip(b"\r"))
        except UnicodeDecodeError:
            reason = "a cell of the row is no UTF-8; write the file in UTF-8"
            yield self._bad_row("InvalidUtf8", line, reason)
            return
        if not self._width:
            self._header(cells, where=f"{self._name}, line {line}")
            self._width = len(cells)
            return
        if len(cells) == self._width:
            yield from self._mapped(cells, line)
            return
        yield self._bad_row(
            "WrongCellCount",
            line,
            f"the row has {len(cells):,} cells and the header {self._width:,}; "
            "quote cells that hold commas",
        )

    def _bad_row(self, code: str, line: int, reason: str) -> Result:
        if not self._width:
            raise InputError(
                f"{self._name}, line {line}: the header cannot be read: {reason}",
                hint="the first line must name the columns, in UTF-8 and separated by commas",
            )
        self._seq += 1
        return rejected(self._seq, None, code, f"line {line}: {reason}")

    def _untrusted(self, how: str) -> InputBroken:
        return InputBroken(
            f"{self._name}, line {self._row_line}: {how}; no row from here on can be trusted",
            hint="correct the quotes of the row that begins on that line",
        )


def _cells(text: bytes) -> list[str]:
    if b'"' not in text:
        return text.decode().split(",")
    if is_plainly_quoted(text):
        return text[1:-1].decode().split('","')
    return [cell.decode() for cell in split_cells(text)]
