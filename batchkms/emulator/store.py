"""What outlives the process: keys and the account's credential, in SQLite.

Every method but `mark` blocks, and all of them belong to one thread. What a method has written
is on disk when it returns (`synchronous=FULL`), whole or not at all. Several processes may use
one store at once: what is decided about a key is decided in the transaction that writes it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchkms.emulator import changes, rows, schema
from batchkms.emulator.account import Account, new_account
from batchkms.emulator.changes import Changes
from batchkms.emulator.ciphertext import handle_text
from batchkms.emulator.datadir import private_file, unusable
from batchkms.emulator.key import ENCRYPT_DECRYPT, Key, KeyState
from batchkms.emulator.randomness import Randomness
from batchkms.errors import ConfigError

__all__ = [
    "FILE_NAME",
    "Account",
    "AliasTaken",
    "Key",
    "KeyIdTaken",
    "KeyMissing",
    "KeyState",
    "Snapshot",
    "Store",
    "TooManyKeys",
]

FILE_NAME = "emulator.sqlite3"

_BUSY_TIMEOUT_S = 5.0
_BUSY_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One region at one moment: its keys, oldest first, and the handles of those that are gone.

    `mark` is that of the last change which is surely in it.
    """

    mark: bytes
    keys: tuple[Key, ...]
    gone: frozenset[str]


class AliasTaken(Exception):
    """Another key of the region has this alias."""


class KeyIdTaken(Exception):
    """Another key has this id."""


class KeyMissing(Exception):
    """The region has no key of this id."""


class TooManyKeys(Exception):
    """The region holds as many keys as the account may have."""


class Store:
    """The open store of one data directory."""

    def __init__(self, data_dir: Path, randomness: Randomness | None = None) -> None:
        """Opens the store and makes it if there is none. Raises ConfigError."""
        path = private_file(data_dir, FILE_NAME)
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise unusable(data_dir, str(error)) from None
        try:
            self._prepare(data_dir, randomness or Randomness())
            self._changes = Changes(private_file(data_dir, changes.FILE_NAME))
            # A process that was killed may not have come to tell what it had written.
            self._changes.announce()
        except OSError as error:
            self._db.close()
            raise unusable(data_dir, error.strerror or type(error).__name__) from None
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Closes the store."""
        self._db.close()
        self._changes.close()

    def mark(self) -> bytes:
        """What changes whenever any process has written to the store. Any thread may ask."""
        return self._changes.mark()

    def account(self) -> Account:
        """The account's credential."""
        secret_id, secret_key = self._db.execute("SELECT * FROM account").fetchone()
        return Account(secret_id=secret_id, secret_key=secret_key)

    def snapshot(self, region: str) -> Snapshot:
        """A region as it is now."""
        # Read first: what is written from here on makes the mark another one again.
        mark = self.mark()
        with self._transaction("BEGIN"):
            keys = rows.select_keys(self._db, region)
            gone = self._db.execute("SELECT handle FROM gone WHERE region = ?", (region,))
            handles = frozenset(handle for (handle,) in gone)
        return Snapshot(mark=mark, keys=tuple(keys), gone=handles)

    def add_key(self, region: str, key: Key, *, limit: int) -> None:
        """Keeps a new key.

        Raises AliasTaken, KeyIdTaken, and TooManyKeys if the region holds `limit` keys. Those
        whose deletion is scheduled do not count (documentation 1030/31966).
        """
        with self._writing():
            same = "SELECT count(*) FROM keys WHERE region = ? AND alias = ?"
            if self._db.execute(same, (region, key.alias)).fetchone()[0]:
                raise AliasTaken(key.alias)
            kept = "SELECT count(*) FROM keys WHERE region = ? AND state != ?"
            if self._db.execute(kept, (region, KeyState.PENDING_DELETE)).fetchone()[0] >= limit:
                raise TooManyKeys
            try:
                rows.insert_key(self._db, region, key)
            except sqlite3.IntegrityError:
                raise KeyIdTaken(key.key_id) from None

    def change(
        self,
        region: str,
        key_ids: Sequence[str],
        change: Callable[[Key], Key | None],
        *,
        missing_ok: bool = False,
    ) -> None:
        """Makes keys what `change` makes of them, all of them or, if it raises, none.

        It is given each key as it is in the store now, and returns it as it shall be, or None
        to delete it for good. Raises KeyMissing, AliasTaken, and whatever `change` raises.
        """
        with self._writing():
            for key_id in key_ids:
                before = rows.select_key(self._db, region, key_id)
                if before is not None:
                    self._replace(region, before, change(before))
                elif not missing_ok:
                    raise KeyMissing(key_id)

    def replace_all(self, region: str, keys: Sequence[Key]) -> None:
        """Makes these the only keys of a region, as if it never had others."""
        with self._writing():
            for key in rows.select_keys(self._db, region):
                rows.delete_key(self._db, key.key_id)
            self._db.execute("DELETE FROM gone WHERE region = ?", (region,))
            for key in keys:
                rows.insert_key(self._db, region, key)

    def _replace(self, region: str, before: Key, after: Key | None) -> None:
        if after is None:
            rows.delete_key(self._db, before.key_id)
            # What remains of a key is that its blobs are known to have been its blobs.
            handles = [(handle, region) for handle in _handles(before)]
            self._db.executemany("INSERT OR IGNORE INTO gone VALUES (?, ?)", handles)
            return
        try:
            rows.update_key(self._db, before, after)
        except sqlite3.IntegrityError:
            raise AliasTaken(after.alias) from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._transaction("BEGIN IMMEDIATE"):
            yield
        # NOTE: only after the commit: who sees the mark must find what it tells of.
        self._changes.announce()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _prepare(self, data_dir: Path, randomness: Randomness) -> None:
        try:
            # What is deleted is overwritten: a key's material is not to be found in the file.
            self._db.execute("PRAGMA secure_delete = ON")
            with self._transaction("BEGIN IMMEDIATE"):
                self._check_or_make_schema(data_dir, randomness)
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
                time.sleep(_BUSY_PAUSE_S)  # No event loop is there yet that this could hold up.
            else:
                return

    def _check_or_make_schema(self, data_dir: Path, randomness: Randomness) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        empty = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if empty and not application:
            schema.make_tables(self._db)
            account = new_account(randomness)
            values = (account.secret_id, account.secret_key)
            self._db.execute("INSERT INTO account VALUES (?, ?)", values)
        elif application != schema.APPLICATION_ID:
            raise unusable(data_dir, f"{FILE_NAME} belongs to another program")
        elif not schema.migrate(self._db, version):
            raise ConfigError(
                f"the emulator's store in {data_dir} has version {version}, and this batchkms "
                f"reads version {schema.SCHEMA_VERSION}",
                hint="use the batchkms that wrote it, or name another directory with --data-dir",
            )


def _handles(key: Key) -> list[str]:
    if key.usage != ENCRYPT_DECRYPT:
        return []
    return [
        handle_text(key.key_id, number, material)
        for number, material in enumerate(key.versions, start=1)
    ]
