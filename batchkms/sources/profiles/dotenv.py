"""Files of `NAME=VALUE` lines, by the rules of python-dotenv, with no variable expanded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from batchkms.errors import InputBroken, InputError
from batchkms.records import Record, Result
from batchkms.sources.lines import LineSplitter, Piece
from batchkms.sources.profiles.entries import Entry, EntryRows, Flaw, Secret
from batchkms.sources.reading import Rows, batched

_ASSIGNMENT = re.compile(rb"\s*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
# After the `=` of an assignment: `A==` is no name, but what base64 ends in. It may be a secret.
_PADDING = re.compile(rb"=\s*")
_AFTER_QUOTE = re.compile(rb"[ \t]*(?:#.*)?\r*", re.DOTALL)
_STOPS = {b"'": re.compile(rb"['\\]"), b'"': re.compile(rb'["\\]')}

_ESCAPES = {b"'": re.compile(r"\\([\\'])"), b'"': re.compile(r"\\([\\'\"abfnrtv])")}
_CONTROLS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))

_PEM_BEGIN, _PEM_END = b"-----BEGIN ", b"-----END "


class _Quoted:
    """A quoted value under way: its name, the line it began on, and its lines so far."""

    def __init__(self, name: str, quote: bytes, line: int, longest_bytes: int) -> None:
        self.name = name
        self.quote = quote
        self.line = line
        self.too_long = False
        self._left_bytes = longest_bytes
        self._stop = _STOPS[quote]
        self._escaped = False
        self._parts: list[bytes] = []

    def feed(self, piece: bytes, *, hold: bool = True) -> bytes | None:
        """Takes a part of a line. What follows the closing quote in it, None if there is none."""
        pos, end = int(self._escaped and bool(piece)), len(piece)
        self._escaped = self._escaped and not piece
        rest: bytes | None = None
        while found := self._stop.search(piece, pos):
            pos = found.end()
            if found[0] == self.quote:
                end, rest = found.start(), piece[pos:]
                break
            self._escaped = pos == len(piece)
            pos += 1
        self._left_bytes -= end
        self.too_long = self.too_long or not hold or self._left_bytes < 0
        if self.too_long:
            self._parts.clear()
        else:
            self._parts.append(piece[:end])
        return rest

    def end_line(self) -> None:
        """Tells it that the line ended, inside the value."""
        self._escaped = False
        self._left_bytes -= 1
        if not self.too_long:
            self._parts.append(b"\n")

    def text(self) -> str:
        """The value, its escapes resolved. Raises UnicodeDecodeError."""
        text = b"".join(self._parts).decode().replace("\r\n", "\n").replace("\r", "\n")
        return _ESCAPES[self.quote].sub(lambda m: _CONTROLS.get(m[1], m[1]), text)


class DotenvReader:
    """Reads the values of a dotenv file (`reading.RowReader`)."""

    def __init__(self, *, name: str, longest_row_bytes: int, max_plaintext_bytes: int) -> None:
        self._name = name
        self._longest_row_bytes = longest_row_bytes
        self._splitter = LineSplitter(longest_row_bytes)
        self._entries = EntryRows(max_plaintext_bytes=max_plaintext_bytes)
        self._lines = 0
        self._seq = 0
        self._begun = False
        self._value: _Quoted | None = None
        self._inside_long_line = False
        # A value that is over the cap: its name and the line it began on, until its line ends.
        self._passing: tuple[str, int] | None = None
        self._pem_line = 0

    @property
    def line(self) -> int:
        """The line on which the value began that is not complete yet."""
        return self._pem_line or (self._value.line if self._value else self._lines + 1)

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the values that this chunk completes.

        Raises InputError for a file that begins with something else, and InputBroken where
        text follows the closing quote of a value that spans lines.
        """
        return batched(self._rows(self._splitter.feed(chunk)))

    def end(self) -> Iterator[Rows]:
        """Yields the last value. Raises InputBroken if a value has no end."""
        yield from batched(self._rows(self._splitter.end()))
        if self._value is not None:
            raise self._untrusted("the quote before this value is never closed")
        if self._pem_line:
            raise self._untrusted("this key in PEM without quotes has no END line")

    def _rows(self, parts: Iterable[list[bytes] | Piece]) -> Iterator[Record | Result]:
        for part in parts:
            if isinstance(part, Piece):
                yield from self._piece(part)
                continue
            for text in part:
                yield from self._line(text)
                self._lines += 1

    def _line(self, text: bytes) -> Iterator[Record | Result]:
        """What a line gives, the one after the `_lines` that are done."""
        if self._pem_line:
            if text.lstrip().startswith(_PEM_END):
                self._pem_line = 0
            return
        value = self._value
        if value is None:
            stripped = text.strip()
            if not stripped or stripped.startswith(b"#"):
                return
            found = self._assignment(text)
            if found is None:
                reason = "the line is no NAME=VALUE; put a value of several lines in quotes"
                yield from self._row("", Flaw(f"line {self.line}", "InvalidEntry", reason))
                return
            name, text = found[1].decode(), text[found.end() :]
            if _PADDING.fullmatch(text) or (not text.strip() and _may_be_base64(name)):
                reason = "the line looks like the end of a base64 text; put that in quotes"
                yield from self._row("", Flaw(f"line {self.line}", "InvalidEntry", reason))
                return
            if text[:1] not in _STOPS:
                yield from self._unquoted(name, text)
                return
            value, text = self._open(name, text[:1]), text[1:]
        yield from self._quoted(value, text)

    def _quoted(self, value: _Quoted, text: bytes) -> Iterator[Record | Result]:
        rest = value.feed(text)
        if rest is None:
            value.end_line()
            return
        if not _AFTER_QUOTE.fullmatch(rest):
            if value.line <= self._lines:
                raise self._untrusted("text follows the closing quote of this value")
            reason = "text follows the closing quote; escape the quotes inside the value"
            found: Secret | Flaw = Flaw(f"line {value.line}", "InvalidEntry", reason)
        elif value.too_long:
            found = self._too_long(value.line)
        else:
            found = _secret(f"line {value.line}", value)
        self._value = None
        yield from self._row(value.name, found)

    def _unquoted(self, name: str, text: bytes) -> Iterator[Record | Result]:
        place = f"line {self.line}"
        try:
            value = _without_comment(text.rstrip(b"\r").decode()).rstrip()
        except UnicodeDecodeError:
            yield from self._row(name, _no_utf8(place))
            return
        if "\r" in value:
            reason = "a carriage return is in the value; put it in quotes, or end lines in \\n"
            yield from self._row(name, Flaw(place, "InvalidEntry", reason))
        elif text.startswith(_PEM_BEGIN) and _PEM_END not in text:
            reason = "a key in PEM goes on over the lines after this one; put it in double quotes"
            self._pem_line = self.line
            yield from self._row(name, Flaw(place, "InvalidEntry", reason))
        else:
            yield from self._row(name, Secret(place, "", value))

    def _piece(self, piece: Piece) -> Iterator[Record | Result]:
        """Follows a line over the cap to its end, or to where its quoted value ends."""
        data = piece.data
        begins, self._inside_long_line = not self._inside_long_line, not piece.last
        if begins and self._value is None and not self._pem_line:
            data = self._begin_long(data)
        if self._value is not None and self._value.feed(data, hold=False) is not None:
            self._passing, self._value = (self._value.name, self._value.line), None
        if not piece.last:
            return
        if self._passing is not None:
            (name, line), self._passing = self._passing, None
            yield from self._row(name, self._too_long(line))
        elif self._value is not None:
            self._value.end_line()
        self._lines += 1

    def _begin_long(self, data: bytes) -> bytes:
        """Takes the begin of a line over the cap. What of it is left for a quoted value."""
        # Only so much is there for sure: whatever else is, depends on the chunks.
        head = data[: self._longest_row_bytes]
        if head.lstrip().startswith(b"#"):
            return b""
        found = self._assignment(head)
        name = found[1].decode() if found else ""
        data = data[found.end() :] if found else b""
        if data[:1] in _STOPS:
            self._open(name, data[:1])
        else:
            self._passing = name, self.line
        return data[1:]

    def _assignment(self, text: bytes) -> re.Match[bytes] | None:
        found = _ASSIGNMENT.match(text)
        if found is None and not self._begun:
            raise InputError(
                f"{self._name}, line {self.line}: this is not how a dotenv file begins",
                hint="its lines are NAME=VALUE, blank, or comments after a #",
            )
        self._begun = True
        return found

    def _open(self, name: str, quote: bytes) -> _Quoted:
        self._value = _Quoted(name, quote, self.line, self._longest_row_bytes)
        return self._value

    def _row(self, name: str, found: Secret | Flaw) -> Iterator[Record | Result]:
        for row in self._entries.rows(Entry(name, [found]), seq=self._seq):
            self._seq = row.seq
            yield row

    def _too_long(self, line: int) -> Flaw:
        reason = f"the value has more than {self._longest_row_bytes:,} bytes; shorten it"
        return Flaw(f"line {line}", "RowTooLong", reason)

    def _untrusted(self, how: str) -> InputBroken:
        return InputBroken(
            f"{self._name}, line {self.line}: {how}; no line from here on can be trusted",
            hint="correct the value that begins on that line",
        )


def _may_be_base64(name: str) -> bool:
    """Whether a name without a value may be base64 that ends in a single `=`."""
    return len(name) % 4 == 3 and len(name) > 8 and not (name.isupper() or name.islower())


def _secret(place: str, value: _Quoted) -> Secret | Flaw:
    try:
        return Secret(place, "", value.text())
    except UnicodeDecodeError:
        return _no_utf8(place)


def _no_utf8(place: str) -> Flaw:
    return Flaw(place, "InvalidUtf8", "the value is no UTF-8; write the file in UTF-8")


def _without_comment(text: str) -> str:
    """What stands before the first `#` that follows a space, in linear time."""
    at = text.find("#")
    while at > 0 and not text[at - 1].isspace():
        at = text.find("#", at + 1)
    return text[:at] if at > 0 else text
