"""Finds the JSON documents in a stream of bytes: one alone, one a line, or one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

_OUTSIDE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_NO_SPACE = re.compile(rb"[^ \t\r\n]")
_OPENING = (b"{", b"[")


class NoDocument(Exception):
    """The bytes are no sequence of JSON objects and arrays. The text says how."""


class DocumentSplitter:
    """Cuts a stream into its JSON objects and arrays, in time linear in their bytes.

    It follows strings and brackets only: whether what is between them is valid JSON shows when
    the document is parsed. At most one document is held, of at most `max_document_bytes`.
    """

    def __init__(self, max_document_bytes: int) -> None:
        self._max_document_bytes = max_document_bytes
        self.line = 1
        """The line on which the document under way began, or the last one."""
        # Newlines after that: those of the document, and between it and the next one.
        self._newlines = 0
        self._document = bytearray()
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, chunk: bytes) -> Iterator[bytearray]:
        """Yields the documents that the chunk completes. Raises NoDocument."""
        pos = 0
        while True:
            if not self._depth and not (pos := self._begin(chunk, pos)) < len(chunk):
                return
            found = self._end(chunk, pos)
            end = len(chunk) if found is None else found
            self._document += chunk[pos:end]
            self._newlines += chunk.count(b"\n", pos, end)
            if len(self._document) > self._max_document_bytes:
                most = f"{self._max_document_bytes:,}"
                raise NoDocument(f"the document has more than {most} bytes; export it in parts")
            if found is None:
                return
            document, self._document = self._document, bytearray()
            yield document
            pos = end

    def end(self) -> None:
        """Tells it that the input ended. Raises NoDocument inside a document."""
        if self._depth:
            raise NoDocument("the document is cut off: a bracket or a string is never closed")

    def _begin(self, chunk: bytes, pos: int) -> int:
        """Where the next document begins; the end of the chunk if there is none in it."""
        found = _NO_SPACE.search(chunk, pos)
        begin = found.start() if found else len(chunk)
        self._newlines += chunk.count(b"\n", pos, begin)
        if found:
            self.line += self._newlines
            self._newlines = 0
            if found[0] not in _OPENING:
                raise NoDocument("there is something that is no JSON object or array")
        return begin

    def _end(self, chunk: bytes, pos: int) -> int | None:
        """Where the document ends that is under way; None if not in this chunk."""
        if self._escaped:
            pos, self._escaped = pos + 1, False
        depth, in_string = self._depth, self._in_string
        outside, inside = _OUTSIDE.search, _IN_STRING.search
        ended: int | None = None
        while found := (inside if in_string else outside)(chunk, pos):
            pos = found.end()
            match found[0]:
                case b'"':
                    in_string = not in_string
                case b"\\":
                    # The next byte is part of the string, whatever it is.
                    self._escaped = pos == len(chunk)
                    pos += 1
                case b"{" | b"[":
                    depth += 1
                case _:
                    depth -= 1
                    if not depth:
                        ended = pos
                        break
        self._depth, self._in_string = depth, in_string
        return ended
