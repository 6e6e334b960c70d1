"""A data directory of an earlier version opens, and what was encrypted with it decrypts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from batchkms.emulator import Emulator, schema
from batchkms.emulator.store import FILE_NAME, Store
from tests.emulator.calling import NOW_S, Clock, b64, calling

DEMO = "b9b50f26-e7c0-11f1-ad5c-db9e04c679f3"
ORDERS = "b9b58fe8-e7c0-11f1-b444-1bdf1c0cfe18"

# Blobs of these keys, made by the emulator that wrote the store.
DEMO_BLOB = (
    "HcigDh+HHwJQxpCz+1hNBJX5kQDvVuM9wsJEHoUK6DKjWPsez+B/cvoLT4kk8nfg/YI6cCSidMEwLJD6Br51sg=="
    "-k-Df1nJBjIAQer/qJ7DiOptg=="
    "-k-iLQerx9K0rO5Vd5CQtL04R6vX9vrkE8Ql14EkVFPS5SQfp2h13Jbx3ftDcZw2bGg/J9VoA=="
)
ORDERS_BLOB = (
    "G1+0qCx+MeUQQHYfBcaUxujQ1F6sDwO9MErrtwfHAwOhF6G9RgyFKwznIeFTJSpCmTA1uNZ5yRRKkf29CIdQAA=="
    "-k-tPw5tqCIfpk7rSjkCBDVbA=="
    "-k-KNmveD9CVHtvTURRK+nSe0rPW27f4d5oNlPdD0w+eFWbVdmO"
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory whose store is of version 1."""
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.executescript(Path(__file__).with_name("store_v1.sql").read_text())
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return tmp_path


def version(data_dir: Path) -> int:
    db = sqlite3.connect(data_dir / FILE_NAME)
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()


async def test_keys_of_version_1_go_on(data_dir: Path) -> None:
    clock = Clock()
    for _ in range(2):  # The second time it is a store of this version already.
        emulator = Emulator(data_dir=data_dir, clock=clock)
        async with emulator, calling(emulator, clock) as caller:
            assert (emulator.demo_key_id, emulator.secret_id) == (DEMO, "EMULATORVERSION1")
            opened = await caller.call(
                "Decrypt", {"CiphertextBlob": DEMO_BLOB, "EncryptionContext": '{"a":"b"}'}
            )
            assert opened["Plaintext"] == b64(b"a secret of version 1")
            opened = await caller.call("Decrypt", {"CiphertextBlob": ORDERS_BLOB})
            assert (opened["KeyId"], opened["Plaintext"]) == (ORDERS, b64(b"another one"))
            shown = (await caller.call("DescribeKey", {"KeyId": ORDERS}))["KeyMetadata"]
            assert (shown["Alias"], shown["Description"]) == ("orders", "for orders")
            assert (shown["KeyState"], shown["KeyRotationEnabled"]) == ("Archived", False)
            assert shown["CreateTime"] == NOW_S
            assert shown["NextRotateTime"] == NOW_S + 365 * 86_400
        assert version(data_dir) == schema.SCHEMA_VERSION


async def test_a_key_of_version_1_rotates(data_dir: Path) -> None:
    clock = Clock()
    emulator = Emulator(data_dir=data_dir, clock=clock)
    async with emulator, calling(emulator, clock) as caller:
        await caller.call("EnableKeyRotation", {"KeyId": DEMO})
        await caller.call("RotateKey", {"KeyId": DEMO})
        moved = await caller.call(
            "ReEncrypt", {"CiphertextBlob": DEMO_BLOB, "SourceEncryptionContext": '{"a":"b"}'}
        )
        assert moved["ReEncrypted"] is True


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(Exception):
        pass

    def cut(db: sqlite3.Connection, version: int) -> bool:
        migrate(db, version)
        raise PowerCut

    migrate = schema.migrate
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrate", cut)
        with pytest.raises(PowerCut):
            Store(data_dir)
    assert version(data_dir) == 1
    store = Store(data_dir)
    try:
        assert [key.key_id for key in store.snapshot("ap-guangzhou").keys] == [DEMO, ORDERS]
    finally:
        store.close()
    assert version(data_dir) == schema.SCHEMA_VERSION
