"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import orjson

from batchkms.errors import InputError
from batchkms.records import Result, rejected
from batchkms.sources.lineblocks import LineBlock
from batchkms.sources.lines import LineSplitter, Piece
from batchkms.sources.mapping import Kept, Mapper
from batchkms.sources.reading import BATCH_ROWS, Rows

_WRITTEN = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonlReader:
    """Reads the rows of a JSON Lines input (`reading.RowReader`)."""

    def __init__(
        self,
        mapper: Mapper,
        *,
        name: str,
        longest_row_bytes: int,
        keep: Sequence[str] = (),
        looked_for: Iterable[str] = (),
    ) -> None:
        self.unseen = set(looked_for)
        """The names of those that are looked for that no row has had so far."""
        self._mapper = mapper
        self._keep = keep
        self._name = name
        self._longest_row_bytes = longest_row_bytes
        self._splitter = LineSplitter(longest_row_bytes)
        self._lines = 0
        self._seq = 0
        self._inside_line = False

    @property
    def line(self) -> int:
        """The line that is not complete yet."""
        return self._lines + 1

    @property
    def may_be_results(self) -> bool:
        """Any object may turn out to be a result row."""
        return True

    @property
    def first_own(self) -> int | None:
        """The ordinal of the first row that brought a `seq` of its own."""
        return self._mapper.first_own

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the rows that this chunk completes. Raises InputError for a JSON array."""
        return self._batches(self._splitter.feed(chunk))

    def end(self) -> Iterator[Rows]:
        """Yields the last row, if no newline ended it."""
        return self._batches(self._splitter.end())

    def block(self, block: LineBlock) -> Iterator[Rows]:
        """Yields the rows of some lines, whatever came before them."""
        self._lines, self._seq = block.lines_before, block.rows_before
        lines, begin = block.text.split(b"\n"), 0
        for end in (*block.too_long, len(lines)):
            for at in range(begin, end, BATCH_ROWS):
                if rows := self._rows(lines[at : min(at + BATCH_ROWS, end)]):
                    yield rows
            if end < len(lines):
                yield [self._too_long()]
            begin = end + 1

    def _batches(self, parts: Iterator[list[bytes] | Piece]) -> Iterator[Rows]:
        for part in parts:
            if isinstance(part, Piece):
                if not (self._seq or self._inside_line):
                    self._refuse_array([part.data])
                self._inside_line = not part.last
                if part.last:
                    yield [self._too_long()]
                continue
            for begin in range(0, len(part), BATCH_ROWS):
                if rows := self._rows(part[begin : begin + BATCH_ROWS]):
                    yield rows

    def _rows(self, lines: list[bytes]) -> Rows:
        if not self._seq:
            self._refuse_array(lines)
        rows: Rows = []
        map_row, line, seq = self._mapper.from_object, self._lines, self._seq
        for text in lines:
            line += 1
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                if text.strip():
                    seq += 1
                    rows.append(_invalid(text, error.colno, seq, line))
                continue
            seq += 1
            if type(row) is not dict:
                rows.append(_no_object(seq, line))
                continue
            if self.unseen:
                self.unseen.difference_update(row)
            if self._keep:
                try:
                    kept = self._kept(text)
                except RecursionError:
                    rows.append(_too_deep(seq, line))
                    continue
                rows.append(map_row(row, seq, line, kept))
            else:
                rows.append(map_row(row, seq, line))
        self._lines, self._seq = line, seq
        return rows

    def _kept(self, text: bytes) -> Kept:
        """The columns to keep as they are written: a number must not change its digits.

        Raises RecursionError for what is nested too deeply.
        """
        try:
            written = _WRITTEN.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        # A copy, or the whole row would stay in memory with its plaintext.
        return {name: written[name].copy() for name in self._keep if name in written} or None

    def _refuse_array(self, lines: list[bytes]) -> None:
        first = next(filter(None, (line.strip() for line in lines)), b"")
        if first.startswith(b"["):
            raise InputError(
                f"{self._name} is a JSON array, not JSON Lines",
                hint="write one object a line: jq -c '.[]' FILE | batchkms … - --format jsonl",
            )

    def _too_long(self) -> Result:
        self._lines += 1
        self._seq += 1
        return rejected(
            self._seq,
            None,
            "RowTooLong",
            f"line {self._lines}: the row has more than {self._longest_row_bytes:,} bytes; "
            "take out what is not needed of it",
        )


def _invalid(text: bytes, column: int, seq: int, line: int) -> Result:
    # The parser's own error holds the whole row: nothing of it may get any further.
    try:
        text.decode()
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} of the row is no UTF-8; write the file in UTF-8"
        return rejected(seq, None, "InvalidUtf8", f"line {line}: {reason}")
    reason = f"the row is no valid JSON at column {column}; write one JSON object a line"
    return rejected(seq, None, "InvalidJson", f"line {line}: {reason}")


def _no_object(seq: int, line: int) -> Result:
    reason = "the row is no JSON object; write one JSON object a line"
    return rejected(seq, None, "NotAnObject", f"line {line}: {reason}")


def _too_deep(seq: int, line: int) -> Result:
    reason = "a value of the row is nested too deeply to be kept; take it out"
    return rejected(seq, None, "InvalidJson", f"line {line}: {reason}")
