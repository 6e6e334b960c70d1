"""Reads a result file as it was written: each row as its bytes and as a Result.

A file may end in the middle of a row: a run that was killed, a disk that was full. Where the
last whole row ends is known to the byte. Unless it must be as it was written, it is read (`lax`)
also as another program has saved it: with LF at the ends of its lines, or with a UTF-8 BOM.
"""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec

from batchkms.csvtext import GUARDED_COLUMNS, unguard
from batchkms.records import BASE_COLUMNS, Result
from batchkms.sinks import sink_of
from batchkms.sinks.base import Sink

LONGEST_RESULT_BYTES = 8 * 1024 * 1024
"""Over any row that is ever written: a decrypted MiB in which every byte is escaped."""

# NOTE: https://docs.python.org/3/library/csv.html#csv.field_size_limit is one for the whole
# process and 128 KiB at first, which a ciphertext of an envelope is over. It is never lowered.
csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RESULT_BYTES))


class ResultRow(NamedTuple):
    """One row: its bytes with the line end, the line that it begins on, and what it says."""

    raw: bytes
    line: int
    result: Result


class BadResultFile(Exception):
    """The rows end here. `offset` is where the last good row ends, `line` where this one begins.

    `torn` says that the file simply ends in the middle of this row.
    """

    def __init__(self, reason: str, *, offset: int, line: int, torn: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.line = line
        self.torn = torn


def sink_of_output(output: Mapping[str, Any]) -> Sink:
    """The format of the rows of an output, from what a manifest says of it."""
    return sink_of(output["format"], output.get("columns", ()))


def read_results(file: BinaryIO, sink: Sink, *, lax: bool = True) -> Iterator[ResultRow]:
    """Yields the rows of a result file in this format from its beginning.

    Raises BadResultFile at the first row that is not whole or that no run has written.
    """
    begin, line = _after_header(file, sink, lax=lax)
    return _rows(file, sink, begin, line=line, lax=lax)


def read_good_rows(
    file: BinaryIO, sink: Sink, *, lax: bool = True
) -> Iterator[tuple[int, ResultRow] | tuple[int, BadResultFile]]:
    """Yields every row of a result file, also those behind a damaged one, and where each begins.

    What cannot be read is yielded as the BadResultFile that it would be; reading goes on in the
    next line. Raises BadResultFile where the header is none of a result file.
    """
    offset, line = _after_header(file, sink, lax=lax)
    while True:
        try:
            for row in _rows(file, sink, offset, line=line, lax=lax):
                yield offset, row
                offset += len(row.raw)
            return
        except BadResultFile as bad:
            # A quote that is one too many has swallowed rows that are good.
            file.seek(bad.offset)
            offset, line = bad.offset + _line_bytes(file), bad.line + 1
            swallowed = bad.torn and bool(file.read(1))
            yield bad.offset, _damaged(bad.offset, bad.line) if swallowed else bad
            file.seek(offset)


def read_row(file: BinaryIO, sink: Sink, offset: int, *, lax: bool = True) -> Result:
    """The row that begins there. Raises BadResultFile if there is none."""
    return row_at(file, sink, offset, lax=lax).result


def row_at(file: BinaryIO, sink: Sink, offset: int, *, lax: bool = True) -> ResultRow:
    """The same with its bytes; on which line it is, is not known."""
    file.seek(offset)
    row = next(_rows(file, sink, offset, line=0, lax=lax), None)
    if row is None:
        raise _damaged(offset, 0)
    return row


def _rows(file: BinaryIO, sink: Sink, offset: int, *, line: int, lax: bool) -> Iterator[ResultRow]:
    """The rows from here on; `offset` and `line` say where the file stands."""
    if sink.format == "csv":
        return _csv_rows(file, (*BASE_COLUMNS, *sink.columns), offset, line, lax=lax)
    return _jsonl_rows(file, offset, line)


def _line_bytes(file: BinaryIO) -> int:
    """How long the line is that begins here; it may be of any length."""
    length = 0
    while piece := file.readline(LONGEST_RESULT_BYTES):
        length += len(piece)
        if piece.endswith(b"\n"):
            break
    return length


def sink_of_file(file: BinaryIO, format: str) -> Sink:
    """The format of a result file with the columns that it has; the file is read from its start.

    It may have been saved again (`lax`). Raises BadResultFile where the columns are other ones.
    """
    if format != "csv":
        return sink_of(format)
    names, _ = _names(file)
    file.seek(0)
    return sink_of(format, names[len(BASE_COLUMNS) :])


def resaved(file: BinaryIO, sink: Sink) -> str | None:
    """How another program has saved a result file again, None if none has as far as is seen.

    Only the beginning of the file is looked at; it is read from its start then.
    """
    first = file.readline(LONGEST_RESULT_BYTES)
    file.seek(0)
    if first.startswith(BOM_UTF8):
        return "it begins with a byte order mark"
    if sink.format != "csv":
        return "its lines end in CR LF" if first.endswith(b"\r\n") else None
    if sink.header().startswith(first) or not first.endswith(b"\n") or first.endswith(b"\r\n"):
        return None
    return "its lines end in LF alone"


def _refuse_twice(names: Sequence[str]) -> None:
    """Raises BadResultFile where two columns have a name: what one says would count for both."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            reason = f"the column {name[:80]!r} is there twice"
            raise BadResultFile(reason, offset=0, line=1, torn=False)
        seen.add(name)


_OTHER_COLUMNS = "it does not begin with the columns of results"


def _after_header(file: BinaryIO, sink: Sink, *, lax: bool) -> tuple[int, int]:
    """How long the header is, which is passed, and the line behind it.

    Raises BadResultFile if it is another one.
    """
    if lax and sink.format != "csv":
        return _after_bom(file), 1
    if lax:
        names, begin = _names(file)
        if tuple(names) != (*BASE_COLUMNS, *sink.columns):
            raise BadResultFile(_OTHER_COLUMNS, offset=0, line=1, torn=False)
        return begin
    header = sink.header()
    if sink.format == "csv":
        _refuse_twice((*BASE_COLUMNS, *sink.columns))
    found = file.read(len(header))
    if found != header:
        torn = header.startswith(found)
        reason = "the header is torn" if torn else _OTHER_COLUMNS
        raise BadResultFile(reason, offset=0, line=1, torn=torn)
    return len(header), 2 if header else 1


def _names(file: BinaryIO) -> tuple[list[str], tuple[int, int]]:
    """The names of the columns, and where the first row begins: its byte and its line.

    The file stands there then. Raises BadResultFile where the columns are none of a result file.
    """
    begin = _after_bom(file)
    try:
        header, lines = next(_csv_texts(file, begin, 1, lax=True), (b"", 0))
        names = _cells(header, lax=True)
    except BadResultFile as bad:
        raise BadResultFile(_OTHER_COLUMNS, offset=0, line=1, torn=bad.torn) from None
    except (csv.Error, UnicodeDecodeError, ValueError):
        header, names, lines = b"\n", [], 1
    if tuple(names[: len(BASE_COLUMNS)]) != BASE_COLUMNS:
        raise BadResultFile(_OTHER_COLUMNS, offset=0, line=1, torn=not header.endswith(b"\n"))
    _refuse_twice(names)
    return names, (begin + len(header), lines + 1)


def _after_bom(file: BinaryIO) -> int:
    """How long the BOM is, which is passed; 0 if there is none."""
    begin = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    file.seek(begin)
    return begin


_decode = msgspec.json.Decoder(Result).decode


def _jsonl_rows(file: BinaryIO, offset: int, line: int) -> Iterator[ResultRow]:
    while raw := file.readline(LONGEST_RESULT_BYTES):
        if not raw.endswith(b"\n"):
            raise _torn_or_long(raw, offset, line)
        try:
            result = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _damaged(offset, line) from None
        yield ResultRow(raw, line, result)
        offset += len(raw)
        line += 1


def _csv_rows(
    file: BinaryIO, columns: tuple[str, ...], offset: int, row_line: int, *, lax: bool
) -> Iterator[ResultRow]:
    for row, last_line in _csv_texts(file, offset, row_line, lax=lax):
        yield ResultRow(row, row_line, _csv_result(row, columns, offset, row_line, lax=lax))
        offset += len(row)
        row_line = last_line + 1


def _csv_texts(
    file: BinaryIO, offset: int, row_line: int, *, lax: bool
) -> Iterator[tuple[bytes, int]]:
    """Each row or header, as its bytes with the line end, and the line that it ends on."""
    line_end = b"\n" if lax else b"\r\n"
    lines = row_line - 1
    quotes = 0
    held = bytearray()
    while raw := file.readline(LONGEST_RESULT_BYTES):
        held += raw
        lines += 1
        quotes += raw.count(b'"')
        if len(held) >= LONGEST_RESULT_BYTES:
            raise _damaged(offset, row_line)
        if quotes % 2:
            continue  # a line end inside a quoted cell
        if not held.endswith(line_end):
            if not raw.endswith(b"\n"):
                continue  # the end of the file
            # Known at once: to look on for a line end of ours would read all that follows anew
            # for every such line.
            raise _damaged(offset, row_line)
        yield bytes(held), lines
        offset += len(held)
        row_line = lines + 1
        held.clear()
    if held:
        raise _torn_or_long(bytes(held), offset, row_line)


def _cells(row: bytes, *, lax: bool) -> list[str]:
    text = row.decode()
    (cells,) = csv.reader([text.rstrip("\r\n") if lax else text.removesuffix("\r\n")], strict=True)
    return cells


def _csv_result(
    row: bytes, columns: tuple[str, ...], offset: int, line: int, *, lax: bool
) -> Result:
    try:
        cells = _cells(row, lax=lax)
        if len(cells) != len(columns):
            raise _damaged(offset, line)
        values = {
            name: unguard(cell) if name in GUARDED_COLUMNS else cell
            for name, cell in zip(columns, cells, strict=True)
            if cell
        }
        return msgspec.convert(values, Result, strict=False)
    except (csv.Error, UnicodeDecodeError, ValueError, msgspec.ValidationError):
        raise _damaged(offset, line) from None


def _torn_or_long(raw: bytes, offset: int, line: int) -> BadResultFile:
    if len(raw) >= LONGEST_RESULT_BYTES:
        return _damaged(offset, line)
    return BadResultFile("the last row is torn", offset=offset, line=line, torn=True)


def _damaged(offset: int, line: int) -> BadResultFile:
    return BadResultFile("this is no row that a run writes", offset=offset, line=line, torn=False)
