"""How a key is written into the rows of the store, and read from them."""

from __future__ import annotations

import json
import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Any

from batchkms.emulator.key import Key, KeyState

_NAMES = (
    "key_id",
    "alias",
    "description",
    "state",
    "usage",
    "origin",
    "created_s",
    "rotates",
    "rotate_days",
    "next_rotation_s",
    "last_rotation_s",
    "deletion_s",
    "tags",
)
# What is put together here are the names of columns above, which no request can change; every value
# goes to SQLite as a parameter.
_SELECT = (
    f"SELECT {', '.join(f'keys.{name}' for name in _NAMES)}, versions.material"  # noqa: S608 - names of our own columns
    " FROM keys LEFT JOIN versions ON versions.key_id = keys.key_id WHERE keys.region = ?"
)
_ORDER = " ORDER BY keys.position, versions.number"
_INSERT = (
    f"INSERT INTO keys (region, {', '.join(_NAMES)})"  # noqa: S608 - names of our own columns
    f" VALUES (?, {', '.join('?' * len(_NAMES))})"
)
_UPDATE = f"UPDATE keys SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE key_id = ?"  # noqa: S608 - names of our own columns


def select_keys(db: sqlite3.Connection, region: str) -> list[Key]:
    """Every key of a region, oldest first."""
    return _keys(db.execute(_SELECT + _ORDER, (region,)))


def select_key(db: sqlite3.Connection, region: str, key_id: str) -> Key | None:
    """The key of this id."""
    found = _keys(db.execute(_SELECT + " AND keys.key_id = ?" + _ORDER, (region, key_id)))
    return found[0] if found else None


def insert_key(db: sqlite3.Connection, region: str, key: Key) -> None:
    """Writes a key that is not there. Raises sqlite3.IntegrityError if its id or alias is."""
    db.execute(_INSERT, (region, *_values(key)))
    _add_versions(db, key, 0)


def update_key(db: sqlite3.Connection, before: Key, after: Key) -> None:
    """Writes what has changed of a key. Raises sqlite3.IntegrityError for an alias in use.

    Versions are only ever added.
    """
    db.execute(_UPDATE, (*_values(after), before.key_id))
    _add_versions(db, after, len(before.versions))


def delete_key(db: sqlite3.Connection, key_id: str) -> None:
    """Removes a key with its material."""
    db.execute("DELETE FROM versions WHERE key_id = ?", (key_id,))
    db.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))


def _add_versions(db: sqlite3.Connection, key: Key, kept: int) -> None:
    for number, material in enumerate(key.versions[kept:], start=kept + 1):
        db.execute("INSERT INTO versions VALUES (?, ?, ?)", (key.key_id, number, material))


def _values(key: Key) -> list[Any]:
    fields = {name: getattr(key, name) for name in _NAMES}
    return list({**fields, "tags": json.dumps(key.tags, ensure_ascii=False)}.values())


def _keys(rows: sqlite3.Cursor) -> list[Key]:
    # One row for each version of a key, or one without material for a key that has none.
    keys = []
    for _, group in groupby(rows, key=itemgetter(0)):
        versions = list(group)
        fields = dict(zip(_NAMES, versions[0], strict=False))
        fields["state"] = KeyState(fields["state"])
        fields["rotates"] = bool(fields["rotates"])
        fields["tags"] = tuple((key, value) for key, value in json.loads(fields["tags"]))
        materials = tuple(row[-1] for row in versions if row[-1] is not None)
        keys.append(Key(**fields, versions=materials))
    return keys
