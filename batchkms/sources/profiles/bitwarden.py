"""The JSON export of Bitwarden and Vaultwarden, of a person or of an organization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchkms.sources.profiles.entries import Entry, Flaw, Secret, wrong_type
from batchkms.sources.profiles.json import WrongKind, as_object, decoded, member, text_of

_ITEM_TYPES = (1, 2, 3, 4, 5)
"""Login, secure note, card, identity and SSH key."""

_MEMBERS = {
    "login": ("password", "totp"),
    "card": ("number", "code"),
    "identity": ("ssn", "passportNumber", "licenseNumber"),
    "sshKey": ("privateKey",),
}

_OPEN_FIELD_TYPES = (0, 2, 3)
"""Custom fields that are no secret: text, a check box, and a link to another field."""


class _Folder(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Export(msgspec.Struct):
    encrypted: bool | None = None
    items: list[msgspec.Raw] | None = None
    folders: list[_Folder] | None = None
    collections: list[_Folder] | None = None


class BitwardenJson:
    """Where the secrets are in it (`json.Layout`)."""

    hint = (
        "export the vault as `.json`, not as `.json (Encrypted)`: bw export --format json, or "
        "Export in the settings of the app"
    )

    def entries(self, document: bytearray) -> Iterator[Entry | Flaw]:
        """Yields the items. Raises WrongKind for another document or an encrypted export."""
        export = decoded(document, _Export, otherwise="it is no Bitwarden export")
        if export.encrypted:
            raise WrongKind("it is an encrypted Bitwarden export, whose secrets cannot be read")
        signs = (export.encrypted, export.folders, export.collections)
        if export.items is None or signs == (None, None, None):
            raise WrongKind("it is no Bitwarden export: it has no `items` and `folders`")
        named = [*(export.folders or ()), *(export.collections or ())]
        folders = {folder.id: folder.name for folder in named if folder.id and folder.name}
        for i, raw in enumerate(export.items):
            place = f"items[{i}]"
            item = as_object(raw, place)
            if isinstance(item, Flaw):
                yield item
            else:
                name = text_of(item.get("name")) or f"item-{i + 1}"
                yield Entry(_folder(item, folders) + name, _secrets(item, place))

    def unfinished(self) -> str | None:
        """Nothing: an export is always whole."""
        return None


def _folder(item: dict[str, Any], folders: dict[str | None, str | None]) -> str:
    """The folder of the item, else the first of its collections that has a name, with a slash."""
    collections = item.get("collectionIds")
    ids = [item.get("folderId"), *(collections if type(collections) is list else ())]
    names = (folders.get(text_of(folder_id)) for folder_id in ids)
    name = next(filter(None, names), None)
    return f"{name}/" if name else ""


def _secrets(item: dict[str, Any], place: str) -> Iterator[Secret | Flaw]:
    item_type = item.get("type")
    if item_type is not None and item_type not in _ITEM_TYPES:
        reason = "this type of item is not known to batchkms; copy what is secret in it by hand"
        yield Flaw(f"{place}.type", "InvalidEntry", reason)
    for group, names in _MEMBERS.items():
        part = item.get(group)
        inside = f"{place}.{group}"
        if type(part) is dict:
            for name in names:
                label = name if group == "login" else f"{group}.{name}"
                yield member(inside, part, name, label=label)
            if group == "login":
                yield from _each(part, "fido2Credentials", "keyValue", inside)
        elif part is not None:
            yield wrong_type(inside, part, "an object")
    yield member(place, item, "notes")
    yield from _fields(item, place)
    yield from _each(item, "passwordHistory", "password", place)


def _fields(item: dict[str, Any], place: str) -> Iterator[Secret | Flaw]:
    for at, i, field in _list(item, "fields", place):
        if isinstance(field, Flaw):
            yield field
        elif field.get("type") not in _OPEN_FIELD_TYPES:
            name = text_of(field.get("name")) or str(i + 1)
            yield Secret(f"{at}.value", f"fields.{name}", field.get("value"))


def _each(whole: dict[str, Any], list_name: str, name: str, place: str) -> Iterator[Secret | Flaw]:
    """The same member of each object in a list."""
    for at, i, part in _list(whole, list_name, place):
        yield (
            part if isinstance(part, Flaw) else member(at, part, name, label=f"{list_name}.{i + 1}")
        )


def _list(
    whole: dict[str, Any], name: str, place: str
) -> Iterator[tuple[str, int, dict[str, Any] | Flaw]]:
    """The objects in a list: the place of each, its index, and what it is."""
    parts = whole.get(name)
    if parts is None:
        return
    if type(parts) is not list:
        yield place, 0, wrong_type(f"{place}.{name}", parts, "an array")
        return
    for i, part in enumerate(parts):
        at = f"{place}.{name}[{i}]"
        yield at, i, part if type(part) is dict else wrong_type(at, part, "an object")
