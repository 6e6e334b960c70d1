"""Feeds bytes to the readers, in one piece or cut anywhere, and collects what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from batchkms.errors import InputBroken, InputError
from batchkms.records import Record, Result
from batchkms.sources import open_source
from batchkms.sources.base import Fields
from batchkms.sources.csv import CsvReader
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.numbering import NumberedRows
from batchkms.sources.reading import RowReader
from batchkms.sources.rows import RowMapper

LONGEST = 1024 * 1024


@dataclass
class Outcome:
    """What an input came to: its rows, then the error that ended it, if any."""

    rows: list[Record | Result] = field(default_factory=list)
    error: InputBroken | InputError | None = None

    @property
    def told(self) -> str:
        """Everything that could be printed of it."""
        error = self.error
        return f"{self.rows!r} {error!r} {error and error.message} {error and error.hint}"

    @property
    def codes(self) -> list[str | None]:
        """Per row, the code of its failure, None where it can be sent."""
        return [row.code if isinstance(row, Result) else None for row in self.rows]

    def comparable(self) -> tuple[list[object], str | None]:
        """Rows and error as values that are equal when the outcomes are."""
        return [*self.rows], None if self.error is None else self.error.message


def jsonl_reader(
    *, fields: Fields | None = None, needs_key: bool = False, longest: int = LONGEST
) -> NumberedRows:
    """A reader of JSON Lines that calls its input `in.jsonl`."""
    mapper = RowMapper(fields or Fields(), needs_key=needs_key)
    reader = JsonlReader(mapper, name="in.jsonl", longest_row_bytes=longest)
    return NumberedRows(reader, name="in.jsonl")


def csv_reader(
    *, fields: Fields | None = None, needs_key: bool = False, longest: int = LONGEST
) -> NumberedRows:
    """A reader of CSV that calls its input `in.csv`."""
    fields = fields or Fields()
    mapper = RowMapper(fields, needs_key=needs_key)
    reader = CsvReader(mapper, fields, name="in.csv", longest_row_bytes=longest)
    return NumberedRows(reader, name="in.csv")


def outcome(reader: RowReader, chunks: Iterable[bytes]) -> Outcome:
    """Feeds the chunks and the end of the input."""
    found = Outcome()
    try:
        for chunk in chunks:
            for batch in reader.feed(chunk):
                found.rows += batch
        for batch in reader.end():
            found.rows += batch
    except (InputBroken, InputError) as error:
        found.error = error
    return found


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The data in pieces, cut at these places (in any order, repeated or too large ones too)."""
    places = sorted({min(place, len(data)) for place in at})
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def only(rows: Sequence[Record | Result]) -> Record | Result:
    """The one row that there is."""
    (row,) = rows
    return row


def record(row: Record | Result) -> Record:
    """The row, which must be one that can be sent."""
    assert isinstance(row, Record), row
    return row


def failure(row: Record | Result) -> Result:
    """The row, which must be a failed one."""
    assert isinstance(row, Result), row
    assert row.status == "failed"
    return row


async def read(path: str, *, format: str | None = None, fields: Fields | None = None) -> Outcome:
    """Reads a whole input as a run does."""
    found = Outcome()
    source = open_source(path, format=format, fields=fields)
    try:
        async for batch in source.batches():
            found.rows += batch
    except (InputBroken, InputError) as error:
        found.error = error
    finally:
        await source.aclose()
    return found
