"""What an input format offers, and the names of the fields that it looks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from batchkms.records import Record, Result

Encoding = Literal["utf8", "base64", "hex"]
"""How the plaintext is written in the input."""


DEFAULT_FIELDS = {
    "id_field": "id",
    "plaintext_field": "plaintext",
    "context_field": "encryption_context",
    "ciphertext_field": "ciphertext",
}
"""Which fields are looked for where none is named, by the field of the option that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Which column or JSON member holds what, and how the plaintext is written.

    With `ciphertext` the rows hold ciphertexts, and no plaintext is looked for. `keep` are other
    columns to carry through. `required` holds the names that the user gave by option: in a
    format with a header, each of them must be there; in another, a name that no row has is told.
    """

    id: str = "id"
    plaintext: str = "plaintext"
    key: str | None = None
    context: str = "encryption_context"
    encoding: Encoding = "utf8"
    required: frozenset[str] = frozenset()
    ciphertext: str | None = None
    destination_context: str | None = None
    keep: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The column without which a row is nothing."""
        return self.ciphertext or self.plaintext

    def needed(self) -> frozenset[str]:
        """The columns that a header must have."""
        return self.required | {self.content}

    def options(self) -> dict[str, str]:
        """Every column that is looked for, and the option that names it."""
        options = {self.id: "--id-field", self.context: "--context-field"}
        if self.key is not None:
            options[self.key] = "--key-field"
        if self.destination_context is not None:
            options[self.destination_context] = "--destination-context-field"
        options |= dict.fromkeys(self.keep, "--keep")
        options[self.content] = "--plaintext-field" if self.ciphertext is None else _CIPHERTEXT
        return options


_CIPHERTEXT = "--ciphertext-field"


def unseen_texts(unseen: Mapping[str, str]) -> list[str]:
    """What to say of fields that no row had (`Source.unseen`)."""
    return [
        f"no row has a field {name!r} ({option}): check its name" for name, option in unseen.items()
    ]


class Source(Protocol):
    """An inventory being read, as a stream.

    Items come in input order. A row that cannot be sent is a failed Result already, of class
    `invalid_record`; it takes a `seq` like any other. Of a result file, those that cannot be
    read at all come last; see `numbering`.
    """

    @property
    def name(self) -> str:
        """What to call the input in a message: its path, or `stdin`."""

    @property
    def size_bytes(self) -> int | None:
        """Bytes in all, where known (None for a pipe)."""

    @property
    def read_bytes(self) -> int:
        """Bytes of the input consumed so far (compressed bytes, if it is compressed)."""

    @property
    def sha256(self) -> str | None:
        """Hex digest of the whole input as stored; None until its end was reached."""

    @property
    def unseen(self) -> Mapping[str, str]:
        """Fields that no row so far had though an option names them: that option, by name."""

    def batches(self) -> AsyncIterator[list[Record | Result]]:
        """Yields the rows in small batches.

        Raises InputError before the first row when the input is unusable as a whole, and
        InputBroken later, after every row before the break was yielded.
        """

    async def aclose(self) -> None:
        """Stops reading. Safe to call at any time, and more than once."""
