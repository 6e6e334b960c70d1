"""The CSV exports of password managers: one row an item, some of its columns secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from batchkms.errors import InputError
from batchkms.records import Record, Result
from batchkms.sources.csvrows import CsvRows
from batchkms.sources.profiles.entries import Entry, EntryRows, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one tool's export, in lower case.

    `secrets` has the label of each column that holds a secret. Those of the columns in
    `required` must all be there. What is in none of the three is not known.
    """

    tool: str
    folders: tuple[str, ...] = ()
    name: str
    secrets: dict[str, str]
    plain: frozenset[str]
    required: frozenset[str]
    hint: str


BITWARDEN = Layout(
    tool="Bitwarden",
    folders=("folder", "collections"),
    name="name",
    secrets={
        "login_password": "password",
        "login_totp": "totp",
        "notes": "notes",
        # All custom fields in one cell, which no longer tells the hidden ones from the others.
        "fields": "fields",
    },
    plain=frozenset({"favorite", "type", "reprompt", "login_uri", "login_username"}),
    required=frozenset({"type", "name", "notes", "fields", "login_password", "login_totp"}),
    hint="export the vault as .csv: bw export --format csv, or Export in the settings of the app",
)

ONE_PASSWORD = Layout(
    tool="1Password",
    name="title",
    secrets={"password": "password", "otpauth": "otpauth", "notes": "notes"},
    plain=frozenset({"url", "website", "username", "favorite", "archived", "tags"}),
    required=frozenset({"title", "username", "password"}),
    hint="export the vault as CSV with all fields: File > Export in the 1Password app",
)

LASTPASS = Layout(
    tool="LastPass",
    folders=("grouping",),
    name="name",
    secrets={"password": "password", "totp": "totp", "extra": "extra"},
    plain=frozenset({"url", "username", "fav"}),
    required=frozenset({"url", "username", "password", "extra", "name", "grouping"}),
    hint="export the vault as CSV: Advanced Options > Export in LastPass, or lpass export",
)

LAYOUTS = {"bitwarden-csv": BITWARDEN, "1password-csv": ONE_PASSWORD, "lastpass-csv": LASTPASS}


class _Column(NamedTuple):
    at: int
    label: str
    told: str


class PasswordReader(CsvRows):
    """Reads the secrets in the CSV export of a password manager (`reading.RowReader`)."""

    def __init__(
        self, layout: Layout, *, name: str, longest_row_bytes: int, max_plaintext_bytes: int
    ) -> None:
        super().__init__(name=name, longest_row_bytes=longest_row_bytes)
        self._layout = layout
        self._entries = EntryRows(max_plaintext_bytes=max_plaintext_bytes)
        self._items = 0
        self._folders: list[int] = []
        self._item_name = 0
        self._columns: list[_Column] = []

    def _header(self, names: list[str], *, where: str) -> None:
        layout = self._layout
        # Versions of an export differ in the case of their names.
        columns = [name.strip().lower() for name in names]
        known = {*layout.folders, layout.name, *layout.secrets, *layout.plain}
        if not layout.required <= set(columns):
            raise self._wrong_kind(columns, where)
        for name in sorted(known):
            if columns.count(name) > 1:
                raise InputError(f"{where}: two columns are named {name!r}", hint=layout.hint)
        self._folders = [columns.index(name) for name in layout.folders if name in columns]
        self._item_name = columns.index(layout.name)
        for index, name in enumerate(columns):
            if label := layout.secrets.get(name):
                self._columns.append(_Column(index, label, f"column {name!r}"))
            elif name not in known:
                # A column of a version that is not known here may well hold secrets.
                label = names[index] or f"column-{index + 1}"
                self._columns.append(_Column(index, label, f"column {index + 1}"))

    def _mapped(self, cells: list[str], line: int) -> Iterator[Record | Result]:
        self._items += 1
        folder = next((cells[i] for i in self._folders if cells[i]), "")
        name = cells[self._item_name] or f"item-{self._items}"
        secrets = [
            Secret(f"line {line}, {column.told}", column.label, cells[column.at])
            for column in self._columns
        ]
        entry = Entry(f"{folder}/{name}" if folder else name, secrets)
        for row in self._entries.rows(entry, seq=self._seq):
            self._seq = row.seq
            yield row

    def _wrong_kind(self, columns: list[str], where: str) -> InputError:
        """Names no column: without a header, the first line holds a secret."""
        likely = [name for name, layout in LAYOUTS.items() if layout.required <= set(columns)]
        return InputError(
            f"{where}: this is not the header of a CSV export of {self._layout.tool}",
            hint=f"is it {likely[0]}? Else {self._layout.hint}" if likely else self._layout.hint,
        )
