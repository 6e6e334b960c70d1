"""Reads exports in JSON: what their formats have in common, and how a malformed one is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import msgspec
import orjson

from batchkms.errors import InputBroken, InputError
from batchkms.records import Record, Result
from batchkms.sources.profiles.documents import DocumentSplitter, NoDocument
from batchkms.sources.profiles.entries import Entry, EntryRows, Flaw, Secret, flawed, wrong_type
from batchkms.sources.reading import Rows, batched

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""The longest document: it must be read as a whole before anything in it can be trusted."""

_BYTE = re.compile(r"\(byte (\d+)\)")

T = TypeVar("T")
Found = TypeVar("Found", Secret, Flaw, Secret | Flaw)


class WrongKind(Exception):
    """A document is none of the export's. The text says what it is instead; no content."""


class Layout(Protocol):
    """Where the secrets are in the documents of one tool."""

    hint: str
    """Which command or export makes such a document."""

    def entries(self, document: bytearray) -> Iterator[Entry | Flaw]:
        """Yields the entries of a document.

        Raises WrongKind for one of another kind, before the first entry.
        """

    def unfinished(self) -> str | None:
        """What in the last document says that the export goes on elsewhere; None if nothing."""


class DocumentReader:
    """Reads the secrets in JSON documents (`reading.RowReader`).

    The first document decides whether the input is of the kind that was asked for. One of
    those after it that is not, is a failed row.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        max_plaintext_bytes: int,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        self._layout = layout
        self._name = name
        self._splitter = DocumentSplitter(max_document_bytes)
        self._rows = EntryRows(max_plaintext_bytes=max_plaintext_bytes)
        self._documents = 0
        self._seq = 0

    @property
    def line(self) -> int:
        """The line on which the document began that is not complete yet."""
        return self._splitter.line

    def feed(self, chunk: bytes) -> Iterator[Rows]:
        """Yields the rows of the documents that this chunk completes.

        Raises InputError for a first document that is of another kind, and InputBroken where
        no end of a later one can be found.
        """
        return batched(self._of_chunk(chunk))

    def end(self) -> Iterator[Rows]:
        """Yields a failed row if the export goes on elsewhere. Raises the same as `feed`."""
        try:
            self._splitter.end()
        except NoDocument as problem:
            raise self._stopped(str(problem)) from None
        if (place := self._layout.unfinished()) is not None:
            self._seq += 1
            reason = "it says that there are more secrets than were exported; export all pages"
            yield [flawed(self._seq, self._placed(Flaw(place, "InvalidEntry", reason)))]

    def _of_chunk(self, chunk: bytes) -> Iterator[Record | Result]:
        documents = self._splitter.feed(chunk)
        while True:
            try:
                document = next(documents, None)
            except NoDocument as problem:
                raise self._stopped(str(problem)) from None
            if document is None:
                return
            self._documents += 1
            for row in self._of_document(document):
                self._seq = row.seq
                yield row

    def _of_document(self, document: bytearray) -> Iterator[Record | Result]:
        try:
            for entry in self._layout.entries(document):
                if isinstance(entry, Flaw):
                    yield flawed(self._seq + 1, self._placed(entry))
                else:
                    yield from self._rows.rows(self._all_placed(entry), seq=self._seq)
        except WrongKind as problem:
            if self._documents == 1:
                raise InputError(f"{self._name}: {problem}", hint=self._layout.hint) from None
            reason = f"{problem}; {self._layout.hint}"
            yield flawed(self._seq + 1, self._placed(Flaw("", "InvalidEntry", reason)))

    def _all_placed(self, entry: Entry) -> Entry:
        if self._documents == 1:
            return entry
        return Entry(entry.name, map(self._placed, entry.secrets))

    def _placed(self, found: Found) -> Found:
        """With the ordinal of its document in its place, from the second document on."""
        if self._documents == 1:
            return found
        place = f"document {self._documents}" + (f", {found.place}" if found.place else "")
        return replace(found, place=place)

    def _stopped(self, reason: str) -> InputError | InputBroken:
        if not self._documents:
            return InputError(
                f"{self._name}: it is no JSON document that can be read: {reason}",
                hint=self._layout.hint,
            )
        return InputBroken(
            f"{self._name}, line {self.line}: {reason}; nothing from here on can be trusted",
            hint="take out what follows the document before it, or export that anew",
        )


def decoded(document: bytearray | msgspec.Raw, kind: type[T], *, otherwise: str) -> T:
    """A document as a struct. Raises WrongKind, saying `otherwise` if it is valid JSON."""
    try:
        return msgspec.json.decode(document, type=kind)
    except msgspec.ValidationError:
        # Its text may repeat a value of the document.
        reason = otherwise
    except msgspec.DecodeError as error:
        at = _BYTE.search(str(error))
        reason = f"it is no valid JSON{f' at byte {int(at[1]) + 1:,}' if at else ''}"
    except UnicodeDecodeError:
        reason = "it is no UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    raise WrongKind(reason)


def member(place: str, whole: dict[str, Any], name: str, *, label: str | None = None) -> Secret:
    """The secret that stands in a member of an object, labelled as the member if not otherwise."""
    return Secret(f"{place}.{name}", name if label is None else label, whole.get(name))


def as_object(raw: msgspec.Raw, place: str) -> dict[str, Any] | Flaw:
    """An element of a list as the object that it should be."""
    try:
        value = orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError:
        # The parser's own error holds the whole element.
        return Flaw(place, "InvalidJson", "this is no valid JSON in UTF-8; export the entry anew")
    return value if type(value) is dict else wrong_type(place, value, "an object")


def text_of(value: object) -> str:
    """A name in an export; one that is no string is none."""
    return value if type(value) is str else ""
