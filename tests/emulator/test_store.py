"""What outlives a run, who may read it, and what a store that cannot be used says."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batchkms.emulator import Emulator, default_data_dir
from batchkms.emulator import store as store_module
from batchkms.emulator.store import FILE_NAME, Key, KeyState, Store
from batchkms.errors import ConfigError
from tests.emulator.calling import Caller, Clock, calling


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def refusal(data_dir: Path) -> ConfigError:
    """The error of an emulator that cannot start there."""
    with pytest.raises(ConfigError) as caught:
        async with Emulator(data_dir=data_dir):
            pass
    assert caught.value.hint is not None
    return caught.value


async def test_keys_and_the_credential_outlive_the_emulator(tmp_path: Path) -> None:
    clock = Clock()
    emulator = Emulator(data_dir=tmp_path, clock=clock)
    async with emulator, calling(emulator, clock) as caller:
        blob = await caller.encrypt(b"secret", EncryptionContext='{"a":"b"}')
        made = await caller.call("CreateKey", {"Alias": "orders", "Description": "for orders"})
    again = Emulator(data_dir=tmp_path, clock=clock)
    async with again, calling(again, clock) as caller:
        assert (again.secret_id, again.secret_key) == (emulator.secret_id, emulator.secret_key)
        assert again.demo_key_id == emulator.demo_key_id
        decrypted = await caller.call(
            "Decrypt", {"CiphertextBlob": blob, "EncryptionContext": '{"a":"b"}'}
        )
        assert decrypted["Plaintext"] == "c2VjcmV0"
        described = await caller.call("DescribeKey", {"KeyId": made["KeyId"]})
        assert described["KeyMetadata"]["Description"] == "for orders"


async def test_the_secret_id_can_never_be_taken_for_a_live_one(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path) as emulator:
        assert emulator.secret_id.startswith("EMULATOR")
        int(emulator.secret_id.removeprefix("EMULATOR"), 16)


async def test_two_stores_share_nothing(tmp_path: Path) -> None:
    async with (
        Emulator(data_dir=tmp_path / "a") as one,
        Emulator(data_dir=tmp_path / "b") as two,
    ):
        assert one.secret_id != two.secret_id
        assert one.secret_key != two.secret_key
        assert one.demo_key_id != two.demo_key_id


async def test_a_key_belongs_to_its_region(tmp_path: Path) -> None:
    clock = Clock()
    async with Emulator(data_dir=tmp_path, clock=clock) as home:
        pass
    async with (
        Emulator(data_dir=tmp_path, region="ap-tokyo", clock=clock) as away,
        calling(away, clock) as caller,
    ):
        assert away.demo_key_id != home.demo_key_id
        code = await caller.code("DescribeKey", {"KeyId": home.demo_key_id})
        assert code == "ResourceUnavailable.CmkNotFound"


async def test_nobody_else_may_read_the_store_whatever_the_umask(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        async with Emulator(data_dir=data_dir):
            assert mode(data_dir) == mode(data_dir.parent) == 0o700
            modes = {path.name: mode(path) for path in data_dir.iterdir()}
    finally:
        os.umask(before)
    names = (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", "emulator.changes")
    assert modes == dict.fromkeys(names, 0o600)


async def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path):
        pass
    (tmp_path / FILE_NAME).chmod(0o644)
    async with Emulator(data_dir=tmp_path):
        assert mode(tmp_path / FILE_NAME) == 0o600


async def test_a_change_of_state_outlives_the_emulator(tmp_path: Path) -> None:
    clock = Clock()
    async with Emulator(data_dir=tmp_path, clock=clock) as emulator:
        await emulator.set_key_state(emulator.demo_key_id, KeyState.DISABLED)
    again = Emulator(data_dir=tmp_path, clock=clock)
    async with again, calling(again, clock) as caller:
        described = await caller.call("DescribeKey", {"KeyId": again.demo_key_id})
        assert described["KeyMetadata"]["KeyState"] == "Disabled"


async def test_two_emulators_share_a_store(tmp_path: Path) -> None:
    clock = Clock()
    one, two = (Emulator(data_dir=tmp_path, clock=clock) for _ in range(2))
    async with one, two, calling(one, clock) as first, calling(two, clock) as second:
        assert one.demo_key_id == two.demo_key_id
        made = await first.call("CreateKey", {"Alias": "orders"})
        parameters = {"KeyId": made["KeyId"], "Plaintext": "c2VjcmV0"}
        encrypted = await second.call("Encrypt", parameters)
        blob = {"CiphertextBlob": encrypted["CiphertextBlob"]}
        assert (await first.call("Decrypt", blob))["Plaintext"] == "c2VjcmV0"
        code = await second.code("CreateKey", {"Alias": "orders"})
        assert code == "InvalidParameterValue.AliasAlreadyExists"


async def test_calls_at_the_same_time_make_keys_that_are_all_kept(caller: Caller) -> None:
    answers = await asyncio.gather(
        *(caller.call("CreateKey", {"Alias": f"key-{number}"}) for number in range(30))
    )
    listed = (await caller.call("ListKeys", {"Limit": 200}))["Keys"]
    assert {answer["KeyId"] for answer in answers} <= {key["KeyId"] for key in listed}


async def test_an_account_has_only_so_many_keys(tmp_path: Path) -> None:
    clock = Clock()
    emulator = Emulator(data_dir=tmp_path, clock=clock, key_limit=2)
    async with emulator, calling(emulator, clock) as caller:
        assert await caller.code("CreateKey", {"Alias": "second"}) == "ok"
        code = await caller.code("CreateKey", {"Alias": "third"})
        assert code == "LimitExceeded.CmkLimitExceeded"
        # A key whose deletion is scheduled does not count.
        await emulator.set_key_state(emulator.demo_key_id, KeyState.PENDING_DELETE)
        assert await caller.code("CreateKey", {"Alias": "third"}) == "ok"


def test_processes_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from batchkms.emulator.store import Store\n"
        "sys.stdin.readline()\n"
        "print(Store(Path(sys.argv[1])).account().secret_id)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=20)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(answers)) == 1


async def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path):
        pass
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "has version 99, and this batchkms reads version 2" in str(await refusal(tmp_path))


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute("CREATE TABLE cakes (name TEXT)")
    db.close()
    assert "belongs to another program" in str(await refusal(tmp_path))


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, " * 100)
    assert "damaged or no store" in str(await refusal(tmp_path))
    assert (tmp_path / FILE_NAME).read_bytes() == b"not a database, " * 100


async def test_a_store_that_is_locked_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(data_dir=tmp_path):
        pass
    monkeypatch.setattr(store_module, "_BUSY_TIMEOUT_S", 0.05)
    db = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        assert "holds the emulator's store" in str(await refusal(tmp_path))
    finally:
        db.close()


async def test_a_damage_that_shows_late_is_told_without_a_traceback(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path):
        pass
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute("DROP TABLE keys")
    db.close()
    assert "no such table: keys" in str(await refusal(tmp_path))


async def test_a_region_without_room_for_a_demo_key(tmp_path: Path) -> None:
    clock = Clock()
    emulator = Emulator(data_dir=tmp_path, clock=clock, key_limit=2)
    async with emulator, calling(emulator, clock) as caller:
        await caller.call("CreateKey", {"Alias": "orders"})
    db = sqlite3.connect(tmp_path / FILE_NAME)
    with db:
        db.execute("UPDATE keys SET alias = 'renamed' WHERE alias = 'batchkms-demo'")
    db.close()
    with pytest.raises(ConfigError, match="no room for one more key"):
        async with Emulator(data_dir=tmp_path, key_limit=2):
            pass


async def test_an_emulator_can_be_started_again(tmp_path: Path) -> None:
    emulator = Emulator(data_dir=tmp_path)
    async with emulator:
        first = emulator.demo_key_id
    async with emulator:
        assert emulator.demo_key_id == first


async def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "cannot be used" in str(await refusal(tmp_path / "data"))
    assert "cannot be used" in str(await refusal(tmp_path / "data" / "deeper"))


async def test_a_file_of_changes_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "emulator.changes").mkdir()
    assert "cannot be used" in str(await refusal(tmp_path))


async def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    assert "cannot be used" in str(await refusal(tmp_path / "a\0b"))


def test_no_key_material_and_no_secret_key_is_in_a_repr(tmp_path: Path) -> None:
    store = Store(tmp_path)
    account = store.account()
    store.close()
    key = Key(
        key_id="id",
        alias="a",
        created_s=0,
        versions=(b"canary",),
    )
    assert account.secret_key not in repr(account)
    assert "canary" not in repr(key)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_DATA_HOME": "/data"}, Path("/data/batchkms/emulator")),
        ({}, Path.home() / ".local/share/batchkms/emulator"),
        ({"XDG_DATA_HOME": "relative"}, Path.home() / ".local/share/batchkms/emulator"),
    ],
)
def test_the_default_is_in_the_users_data_directory(
    environ: dict[str, str], expected: Path
) -> None:
    assert default_data_dir(environ) == expected


async def test_a_link_in_place_of_the_store_is_not_followed(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"somebody else's")
    foreign.chmod(0o644)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / FILE_NAME).symlink_to(foreign)
    with pytest.raises(ConfigError):
        async with Emulator(data_dir=folder):
            raise AssertionError("it must not start")
    assert foreign.read_bytes() == b"somebody else's"
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o644
