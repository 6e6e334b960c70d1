"""Where CSV rows end, and their cells: quotes as in RFC 4180.

A quoted cell begins with a quote as its first character; a quote elsewhere in an unquoted cell
is text. All work is linear, whatever the pieces, and only the row under way is ever held.
"""

from __future__ import annotations

from enum import Enum, auto

_QUOTE, _COMMA, _CR = b'",\r'


class _At(Enum):
    CELL_START = auto()
    UNQUOTED = auto()
    QUOTED = auto()
    QUOTE = auto()
    """After a quote in a quoted cell: the cell's end, or the first half of a doubled one."""
    END = auto()
    """After the CR that follows a quoted cell: only the end of the line may come."""
    MALFORMED = auto()


class QuoteScanner:
    """Follows the quotes through the lines of a row, fed in pieces of any size.

    After each line, `end_line` says whether the row goes on. `malformed` says that text
    followed a closing quote; the rest of that line was passed over. `spans` says that the
    quoted cell under way, or the malformed one, began on an earlier line.
    """

    def __init__(self) -> None:
        self._at = _At.CELL_START
        self.spans = False

    @property
    def malformed(self) -> bool:
        """Whether text followed the closing quote of a cell."""
        return self._at is _At.MALFORMED

    def feed(self, piece: bytes) -> None:
        """Scans the next part of a line, without its newline."""
        at, pos = self._at, 0
        while pos < len(piece):
            if at is _At.QUOTED:
                pos = piece.find(_QUOTE, pos) + 1
                if not pos:
                    break
                at = _At.QUOTE
            elif at is _At.QUOTE:
                at = _AFTER_QUOTE.get(piece[pos], _At.MALFORMED)
                pos += 1
            elif at is _At.CELL_START and piece[pos] == _QUOTE:
                at, pos, self.spans = _At.QUOTED, pos + 1, False
            elif at in (_At.CELL_START, _At.UNQUOTED):
                pos = piece.find(b',"', pos) + 1
                at = _At.CELL_START if pos or piece.endswith(b",") else _At.UNQUOTED
                if not pos:
                    break
            elif at is _At.END and piece[pos] == _CR:
                pos += 1
            else:
                at = _At.MALFORMED
                break
        self._at = at

    def end_line(self) -> bool:
        """Tells it that the line ended. Whether the row goes on, inside a quoted cell."""
        self.spans = self._at is _At.QUOTED
        return self.spans

    def reset(self) -> None:
        """Begins another row."""
        self._at, self.spans = _At.CELL_START, False


_AFTER_QUOTE = {_QUOTE: _At.QUOTED, _COMMA: _At.CELL_START, _CR: _At.END}


def is_plainly_quoted(line: bytes) -> bool:
    """Whether a line is a row of quoted cells only, none of which holds a quote.

    Many programs quote every cell: such a row needs no scanner.
    """
    if len(line) < 2 or not line.startswith(b'"') or not line.endswith(b'"'):
        return False
    # The separators that are counted share no quote, so that any other quote makes one too many.
    inner = line[1:-1]
    return inner.count(b'"') == 2 * inner.count(b'","')


def split_cells(row: bytes) -> list[bytes]:
    """The cells of a complete and well-formed row, without its line end."""
    cells: list[bytes] = []
    begin, length = 0, len(row)
    while True:
        if row.startswith(b'"', begin):
            end = begin + 1
            while row.startswith(b'""', end := row.index(b'"', end)):
                end += 2
            cells.append(row[begin + 1 : end].replace(b'""', b'"'))
            end += 1
        else:
            end = row.find(b",", begin)
            end = length if end < 0 else end
            cells.append(row[begin:end])
        if end == length:
            return cells
        begin = end + 1


def cell_ends(row: bytes) -> list[int]:
    """Where each cell ends of a complete and well-formed row, without its line end.

    That is the place of the comma behind it, or for the last one the end of the row.
    """
    ends: list[int] = []
    begin = 0
    while True:
        end = begin
        if row.startswith(b'"', begin):
            end = begin + 1
            while row.startswith(b'""', end := row.index(b'"', end)):
                end += 2
        end = row.find(b",", end)
        if end < 0:
            return [*ends, len(row)]
        ends.append(end)
        begin = end + 1
