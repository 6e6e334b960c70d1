"""Quotes of single lines, every line there is up to some length, against the csv module."""

from __future__ import annotations

import csv
from itertools import product

from batchkms.sources.quotes import QuoteScanner, is_plainly_quoted, split_cells

LINES = ["".join(line) for length in range(1, 9) for line in product('",a', repeat=length)]


def judged(line: str) -> list[str] | str:
    """The cells, or `open` for a quote that is not closed, or `malformed`."""
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        return "open" if "unexpected end" in str(error) else "malformed"


def scanned(line: str, *, pieces: int) -> list[str] | str:
    """The same as our scanner says, fed in pieces of this size."""
    scanner = QuoteScanner()
    for begin in range(0, len(line), pieces):
        scanner.feed(line[begin : begin + pieces].encode())
    if scanner.malformed:
        return "malformed"
    if scanner.end_line():
        return "open"
    return [cell.decode() for cell in split_cells(line.encode())]


def test_every_short_line_is_read_as_the_csv_module_reads_it() -> None:
    for line in LINES:
        expected = judged(line)
        assert scanned(line, pieces=len(line)) == expected, line
        assert scanned(line, pieces=1) == expected, line


def test_plainly_quoted_lines_hold_their_cells_between_the_separators() -> None:
    plain = [line for line in LINES if is_plainly_quoted(line.encode())]
    assert {'""', '"","a"', '"a,a"', '"aa","a"'} <= {*plain}
    for line in plain:
        assert line[1:-1].split('","') == judged(line), line


def test_rows_of_quoted_cells_without_quotes_are_plainly_quoted() -> None:
    texts = ["", "a", ",", "a,"]
    for cells in product(texts, repeat=3):
        line = ",".join(f'"{cell}"' for cell in cells)
        # A cell of commas may look like a separator: then the scanner has to tell.
        assert is_plainly_quoted(line.encode()) or "," in cells, line
