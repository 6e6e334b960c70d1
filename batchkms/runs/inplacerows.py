"""The rows of an inventory with the plaintext of each replaced by its ciphertext, else as written.

Rows are found and numbered as `sources` does it. One that cannot be read is not copied, as nobody
can tell where in it the secret is: `{}` or a row of empty cells is in its place.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from batchkms.records import Record, Result
from batchkms.sources.csv import result_cells
from batchkms.sources.csvrows import CsvRows
from batchkms.sources.lines import LineSplitter, Piece
from batchkms.sources.passed import is_result_row, passed_on
from batchkms.sources.quotes import cell_ends

CiphertextOf = Callable[[int], str | None]
"""The ciphertext of the row with this `seq`, None if it has none."""


class Rewriter(ABC):
    """Chunks of an inventory in, the rewritten rows out, each ended by a newline.

    `rows` were written, of which `replaced` have a ciphertext; `emptied` could not be read.
    """

    def __init__(self, ciphertext_of: CiphertextOf) -> None:
        self.rows = self.replaced = self.emptied = 0
        self._ciphertext_of = ciphertext_of

    @abstractmethod
    def feed(self, chunk: bytes) -> bytes:
        """What this chunk completes."""

    @abstractmethod
    def end(self) -> bytes:
        """What the end of the input completes."""

    def _ciphertext(self, row: Mapping[str, Any], ordinal: int, *, lax: bool) -> str | None:
        """The ciphertext of a row, by its own `seq` if it is one of a result file."""
        seq: int | Result = ordinal
        if is_result_row(row):
            seq = passed_on(row, ordinal, 0, lax=lax)
        ciphertext = None if isinstance(seq, Result) else self._ciphertext_of(seq)
        self.replaced += ciphertext is not None
        return ciphertext


class JsonlRewriter(Rewriter):
    """Rows of JSON Lines. A row without a ciphertext has null."""

    def __init__(self, field: str, ciphertext_of: CiphertextOf, *, longest_row_bytes: int) -> None:
        super().__init__(ciphertext_of)
        self._field = field
        self._splitter = LineSplitter(longest_row_bytes)

    def feed(self, chunk: bytes) -> bytes:
        """See `Rewriter`."""
        return self._written(self._splitter.feed(chunk))

    def end(self) -> bytes:
        """See `Rewriter`."""
        return self._written(self._splitter.end())

    def _written(self, parts: Iterable[list[bytes] | Piece]) -> bytes:
        rows: list[bytes] = []
        for part in parts:
            if not isinstance(part, Piece):
                rows += [self._row(text) + b"\n" for text in part if text.strip()]
            elif part.last:
                self.rows += 1
                rows.append(self._empty(b"") + b"\n")
        return b"".join(rows)

    def _row(self, text: bytes) -> bytes:
        self.rows += 1
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self._empty(text)
        # A row that lacks the field may well have the secret under another name.
        if type(row) is not dict or self._field not in row:
            return self._empty(text)
        value = orjson.dumps(self._ciphertext(row, self.rows, lax=False))
        pieces, begin = [], 0
        for start, stop in value_spans(text, self._field):
            pieces += [text[begin:start], value]
            begin = stop
        return b"".join([*pieces, text[begin:]])

    def _empty(self, text: bytes) -> bytes:
        self.emptied += 1
        return b"{}\r" if text.endswith(b"\r") else b"{}"


_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)


def value_spans(text: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where the values of the members with this name begin and end, in a valid JSON object.

    A member may be there more than once; those of objects within are none of it.
    """
    depth, key, begin = 0, b"", 0
    for token in _TOKEN.finditer(text):
        kind = token[0][:1]
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
        if depth == 1 and kind == b'"' and not begin:
            key = token[0]
        elif depth == 1 and kind == b":":
            begin = token.end()
        elif (depth == 1 and kind == b",") or depth == 0:
            if begin and orjson.loads(key) == name:
                value = text[begin : token.start()]
                yield token.start() - len(value.lstrip()), begin + len(value.rstrip())
            begin = 0


class CsvRewriter(Rewriter):
    """Rows of CSV. A row without a ciphertext has an empty cell."""

    def __init__(
        self, field: str, ciphertext_of: CiphertextOf, *, name: str, longest_row_bytes: int
    ) -> None:
        super().__init__(ciphertext_of)
        self._field = field
        self._reader = _RawRows(self, name=name, longest_row_bytes=longest_row_bytes)
        self._names: list[str] = []
        self._at = 0
        self._is_results = False
        self._line_end = b"\n"
        self._written: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """See `Rewriter`."""
        return self._taken(self._reader.feed(chunk))

    def end(self) -> bytes:
        """See `Rewriter`."""
        return self._taken(self._reader.end())

    def _taken(self, batches: Iterator[list[Record | Result]]) -> bytes:
        # What is yielded says what is wrong with a row: the results have that already.
        for _ in batches:
            pass
        written, self._written = self._written, []
        return b"".join(written)

    def take_header(self, names: list[str], text: bytes) -> None:
        """The header, as names and as it is written."""
        self._names = names
        self._at = names.index(self._field)
        self._is_results = names.count("seq") == names.count("status") == 1
        self._line_end = b"\r\n" if text.endswith(b"\r") else b"\n"
        self._written.append(text + b"\n")

    def take_row(self, cells: list[str], text: bytes) -> None:
        """A row with as many cells as the header, as values and as it is written."""
        self.rows += 1
        row = result_cells(self._names, cells) if self._is_results else {}
        cell = _cell(self._ciphertext(row, self.rows, lax=True))
        if len(cells) == 1 and not cell:
            # A line that holds nothing at all is no row.
            cell = b'""'
        ends = [-1, *cell_ends(text.rstrip(b"\r"))]
        before, after = text[: ends[self._at] + 1], text[ends[self._at + 1] :]
        self._written.append(b"%b%b%b\n" % (before, cell, after))

    def take_bad_row(self) -> None:
        """A row that cannot be read."""
        self.rows += 1
        self.emptied += 1
        commas = b"," * (len(self._names) - 1)
        self._written.append((commas or b'""') + self._line_end)


class _RawRows(CsvRows):
    """Hands on the rows of a CSV input together with their bytes."""

    def __init__(self, taker: CsvRewriter, *, name: str, longest_row_bytes: int) -> None:
        super().__init__(name=name, longest_row_bytes=longest_row_bytes)
        self._taker = taker
        self._text = b""

    def _row(self, text: bytes, line: int) -> Iterator[Record | Result]:
        self._text = text
        return super()._row(text, line)

    def _header(self, names: list[str], *, where: str) -> None:
        self._taker.take_header(names, self._text)

    def _mapped(self, cells: list[str], line: int) -> Iterable[Record | Result]:
        self._taker.take_row(cells, self._text)
        return ()

    def _bad_row(self, code: str, line: int, reason: str) -> Result:
        self._taker.take_bad_row()
        return super()._bad_row(code, line, reason)


def _cell(ciphertext: str | None) -> bytes:
    text = (ciphertext or "").encode()
    quoted = any(mark in text for mark in (b'"', b",", b"\r", b"\n"))
    return b'"%b"' % text.replace(b'"', b'""') if quoted else text
