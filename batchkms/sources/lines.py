"""Splits chunks into lines, in time linear in their bytes and memory bounded by the longest row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a line that is over the cap; `last` marks the one that ends the line."""

    data: bytes
    last: bool


class Lines(list[bytes]):
    """Lines that a chunk has completed: `text` is all of them but the first, as it stood there."""

    __slots__ = ("text",)

    def __init__(self, lines: list[bytes], text: memoryview) -> None:
        super().__init__(lines)
        self.text = text


class LineSplitter:
    """Turns chunks of any size into lines without their newline (a CR before it stays).

    A line of more than `longest_bytes` comes as Pieces instead. Lines of a chunk that is too short
    for any, with what came before it, are `Lines`.
    """

    def __init__(self, longest_bytes: int) -> None:
        self._longest_bytes = longest_bytes
        self._torn = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes) -> Iterator[list[bytes] | Piece]:
        """Yields what the chunk completes: lines in lists, and Pieces as they come."""
        if self._overlong:
            data, newline, chunk = chunk.partition(b"\n")
            self._overlong = not newline
            yield Piece(data, last=bool(newline))
        # No line of what is there can be over the cap then.
        short = len(self._torn) + len(chunk) <= self._longest_bytes
        first, *more = chunk.split(b"\n")
        # A bytearray grows in place: joining bytes anew for each chunk would be quadratic.
        self._torn += first
        if more:
            last = more.pop()
            lines = [bytes(self._torn), *more]
            self._torn = bytearray(last)
            if short:
                yield Lines(lines, memoryview(chunk)[len(first) + 1 : len(chunk) - len(last) - 1])
            else:
                yield from self._capped(lines)
        if len(self._torn) > self._longest_bytes:
            self._overlong = True
            yield Piece(bytes(self._torn), last=False)
            self._torn = bytearray()

    def end(self) -> Iterator[list[bytes] | Piece]:
        """Yields the last line, if no newline ended it."""
        if self._overlong:
            yield Piece(b"", last=True)
        elif self._torn:
            yield [bytes(self._torn)]

    def _capped(self, lines: list[bytes]) -> Iterator[list[bytes] | Piece]:
        begin = 0
        for i, line in enumerate(lines):
            if len(line) > self._longest_bytes:
                yield lines[begin:i]
                yield Piece(line, last=True)
                begin = i + 1
        yield lines[begin:] if begin else lines
