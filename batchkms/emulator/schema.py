"""The tables of the store, and how a store of an earlier version becomes one of this.

Version 1 kept one material per key, in the table of keys. Version 2 has material per version of
a key, rotation, deletion, tags, and the handles of keys that are gone.
"""

from __future__ import annotations

import sqlite3

from batchkms.emulator.key import DAY_S, DEFAULT_ROTATE_DAYS, ORIGIN_KMS

SCHEMA_VERSION = 2

APPLICATION_ID = 0x624B4D53
"""Marks the file as ours; "bKMS" in ASCII."""

_VERSIONS = (
    "CREATE TABLE versions ("
    " key_id TEXT NOT NULL,"
    " number INTEGER NOT NULL,"
    " material BLOB NOT NULL,"
    " PRIMARY KEY (key_id, number)) STRICT"
)
_GONE = "CREATE TABLE gone (handle TEXT PRIMARY KEY, region TEXT NOT NULL) STRICT"

_NEW = (
    "CREATE TABLE account (secret_id TEXT PRIMARY KEY, secret_key TEXT NOT NULL) STRICT",
    "CREATE TABLE keys ("
    " position INTEGER PRIMARY KEY,"
    " region TEXT NOT NULL,"
    " key_id TEXT NOT NULL UNIQUE,"
    " alias TEXT NOT NULL,"
    " description TEXT NOT NULL,"
    " state TEXT NOT NULL,"
    " usage TEXT NOT NULL,"
    " created_s INTEGER NOT NULL,"
    f" origin TEXT NOT NULL DEFAULT '{ORIGIN_KMS}',"
    " rotates INTEGER NOT NULL DEFAULT 0,"
    f" rotate_days INTEGER NOT NULL DEFAULT {DEFAULT_ROTATE_DAYS},"
    " next_rotation_s INTEGER NOT NULL DEFAULT 0,"
    " last_rotation_s INTEGER NOT NULL DEFAULT 0,"
    " deletion_s INTEGER NOT NULL DEFAULT 0,"
    " tags TEXT NOT NULL DEFAULT '[]',"
    " UNIQUE (region, alias)) STRICT",
    _VERSIONS,
    _GONE,
)

_FROM_1_TO_2 = (
    f"ALTER TABLE keys ADD COLUMN origin TEXT NOT NULL DEFAULT '{ORIGIN_KMS}'",
    "ALTER TABLE keys ADD COLUMN rotates INTEGER NOT NULL DEFAULT 0",
    f"ALTER TABLE keys ADD COLUMN rotate_days INTEGER NOT NULL DEFAULT {DEFAULT_ROTATE_DAYS}",
    "ALTER TABLE keys ADD COLUMN next_rotation_s INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE keys ADD COLUMN last_rotation_s INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE keys ADD COLUMN deletion_s INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE keys ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
    f"UPDATE keys SET next_rotation_s = created_s + {DEFAULT_ROTATE_DAYS * DAY_S}",  # noqa: S608 - a number of ours
    _VERSIONS,
    _GONE,
    "INSERT INTO versions (key_id, number, material) SELECT key_id, 1, material FROM keys",
    "ALTER TABLE keys DROP COLUMN material",
)


def make_tables(db: sqlite3.Connection) -> None:
    """Makes the tables of an empty store, within the caller's transaction."""
    _run(db, _NEW)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def migrate(db: sqlite3.Connection, version: int) -> bool:
    """Brings the tables to this version, within the caller's transaction.

    Whether that can be done: nobody knows what a version of the future holds.
    """
    if version == 1:
        _run(db, _FROM_1_TO_2)
        return True
    return version == SCHEMA_VERSION


def _run(db: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
