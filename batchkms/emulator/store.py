"""What outlives the process: keys and the account's credential, in SQLite.

Every method blocks, and all of them belong to one thread. What a method has written is on disk
when it returns (`synchronous=FULL`). Several processes may use one store at the same time.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from batchkms.emulator.datadir import private_file, unusable
from batchkms.errors import ConfigError

FILE_NAME = "emulator.sqlite3"
SCHEMA_VERSION = 1

SECRET_ID_PREFIX = "EMULATOR"  # noqa: S105 - a prefix of names, not a secret
"""What an id of the emulator begins with: it can never be taken for a live one (`AKID`)."""

_APPLICATION_ID = 0x624B4D53
"""Marks the file as ours; "bKMS" in ASCII."""

_BUSY_TIMEOUT_S = 5.0
_BUSY_PAUSE_S = 0.01

_SCHEMA = (
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
    " material BLOB NOT NULL,"
    " UNIQUE (region, alias)) STRICT",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class KeyState(StrEnum):
    """The states of a CMK, by the service's names."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETE = "PendingDelete"
    PENDING_IMPORT = "PendingImport"
    ARCHIVED = "Archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A CMK. `created_s` is a Unix time; `material` is 32 bytes and never shown."""

    key_id: str
    alias: str
    description: str
    state: KeyState
    usage: str
    created_s: int
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The credential that the emulator accepts."""

    secret_id: str
    secret_key: str = field(repr=False)


class AliasTaken(Exception):
    """Another key of the region has this alias."""


class TooManyKeys(Exception):
    """The region holds as many keys as the account may have."""


class Store:
    """The open store of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        """Opens the store and makes it if there is none. Raises ConfigError."""
        path = private_file(data_dir, FILE_NAME)
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise unusable(data_dir, str(error)) from None
        try:
            self._prepare(data_dir)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Closes the store."""
        self._db.close()

    def account(self) -> Account:
        """The account's credential."""
        secret_id, secret_key = self._db.execute("SELECT * FROM account").fetchone()
        return Account(secret_id=secret_id, secret_key=secret_key)

    def keys(self, region: str) -> list[Key]:
        """Every key of a region, oldest first."""
        rows = self._db.execute(
            "SELECT key_id, alias, description, state, usage, created_s, material"
            " FROM keys WHERE region = ? ORDER BY position",
            (region,),
        )
        return [
            Key(
                key_id=key_id,
                alias=alias,
                description=description,
                state=KeyState(state),
                usage=usage,
                created_s=created_s,
                material=material,
            )
            for key_id, alias, description, state, usage, created_s, material in rows
        ]

    def add_key(self, region: str, key: Key, *, limit: int) -> None:
        """Keeps a new key. Raises AliasTaken, and TooManyKeys if the region holds `limit` ones.

        Keys whose deletion is scheduled do not count (documentation 1030/31966).
        """
        with self._writing():
            same = "SELECT count(*) FROM keys WHERE region = ? AND alias = ?"
            if self._db.execute(same, (region, key.alias)).fetchone()[0]:
                raise AliasTaken(key.alias)
            kept = "SELECT count(*) FROM keys WHERE region = ? AND state != ?"
            if self._db.execute(kept, (region, KeyState.PENDING_DELETE)).fetchone()[0] >= limit:
                raise TooManyKeys
            self._db.execute(
                "INSERT INTO keys (region, key_id, alias, description, state, usage, created_s,"
                " material) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    region,
                    key.key_id,
                    key.alias,
                    key.description,
                    key.state,
                    key.usage,
                    key.created_s,
                    key.material,
                ),
            )

    def set_state(self, key_id: str, state: KeyState) -> None:
        """Moves a key to another state."""
        with self._writing():
            self._db.execute("UPDATE keys SET state = ? WHERE key_id = ?", (state, key_id))

    def data_version(self) -> int:
        """A number that changes whenever another process has written to the store."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _prepare(self, data_dir: Path) -> None:
        try:
            with self._writing():
                self._check_or_make_schema(data_dir)
            self._switch_to_wal()
            self._db.execute("PRAGMA synchronous = FULL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise unusable(data_dir, str(error)) from None
            raise ConfigError(
                f"another process holds the emulator's store in {data_dir} locked",
                hint="end that process, or name another directory with --data-dir",
            ) from None
        except sqlite3.Error as error:
            raise unusable(data_dir, f"{FILE_NAME} is damaged or no store: {error}") from None

    def _switch_to_wal(self) -> None:
        # NOTE: SQLite does not wait here, as it does elsewhere: of two processes that open a new
        # store at the same time, one may be told at once that the database is locked.
        deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(_BUSY_PAUSE_S)
            else:
                return

    def _check_or_make_schema(self, data_dir: Path) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        empty = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if empty and not application:
            self._make_schema()
        elif application != _APPLICATION_ID:
            raise unusable(data_dir, f"{FILE_NAME} belongs to another program")
        elif version != SCHEMA_VERSION:
            raise ConfigError(
                f"the emulator's store in {data_dir} has version {version}, and this batchkms "
                f"reads version {SCHEMA_VERSION}",
                hint="use the batchkms that wrote it, or name another directory with --data-dir",
            )

    def _make_schema(self) -> None:
        for statement in _SCHEMA:
            self._db.execute(statement)
        # The lengths of a real id (36 characters) and secret key (32).
        account = (SECRET_ID_PREFIX + secrets.token_hex(14), secrets.token_hex(16))
        self._db.execute("INSERT INTO account VALUES (?, ?)", account)
