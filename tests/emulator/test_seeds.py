"""A seed makes two runs the same; a seed file gives keys; a reset goes back to the start."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from batchkms.emulator import Emulator
from batchkms.emulator.randomness import Randomness, SeededRandomness
from batchkms.emulator.seedfile import read_seed_file
from batchkms.errors import ConfigError
from tests.emulator.calling import Caller, Clock, b64, calling
from tests.emulator.sdk import Sdk, sdk

ORDERS = "11111111-1111-1111-8111-111111111111"
RSA = "22222222-2222-1222-8222-222222222222"
PUBLIC_KEY = (
    rsa.generate_private_key(65_537, 2048)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


async def scenario(caller: Caller) -> bytes:
    """Every answer of some calls that draw, and of some that fail, as the bytes that came."""
    answers: list[Any] = []

    async def call(action: str, **parameters: Any) -> dict[str, Any]:
        answers.append(await caller.call(action, parameters))
        return dict(answers[-1])

    key_id = (await call("CreateKey", Alias="orders"))["KeyId"]
    await call("CreateKey", Alias="orders")
    blob = (await call("Encrypt", KeyId=key_id, Plaintext=b64(b"secret")))["CiphertextBlob"]
    await call("Encrypt", KeyId=key_id, Plaintext="no base64")
    await call("GenerateRandom", NumberOfBytes=1024)
    for algorithm in ("RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_256"):
        given = {"EncryptionPublicKey": PUBLIC_KEY, "EncryptionAlgorithm": algorithm}
        await call("GenerateDataKey", KeyId=key_id, KeySpec="AES_256", **given)
    await call("EnableKeyRotation", KeyId=key_id)
    await call("RotateKey", KeyId=key_id)
    await call("ReEncrypt", CiphertextBlob=blob)
    rsa_id = (await call("CreateKey", Alias="rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048"))["KeyId"]
    await call("GetPublicKey", KeyId=rsa_id)
    await call("DisableKey", KeyId=key_id)
    await call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
    await call("ListKeyDetail", KeyUsage="ALL")
    return orjson.dumps(answers)


async def run(**options: Any) -> tuple[bytes, bytes, Emulator]:
    """The answers of the scenario in a fresh emulator, and again after a reset."""
    clock = Clock()
    emulator = Emulator(clock=clock, rate_limit=None, **options)
    async with emulator, calling(emulator, clock) as caller:
        first = await scenario(caller)
        await emulator.reset()
        return first, await scenario(caller), emulator


async def test_two_runs_with_one_seed_answer_the_same_bytes(tmp_path: Path) -> None:
    first, again, one = await run(data_dir=tmp_path / "a", seed=1)
    other, _, two = await run(seed=1)
    assert first == again == other
    assert (one.secret_id, one.secret_key) == (two.secret_id, two.secret_key)
    assert one.demo_key_id == two.demo_key_id
    # Nothing of a seeded run stays where no directory was named.
    assert not two.data_dir.exists()


async def test_another_seed_and_none_answer_otherwise() -> None:
    drawn = set()
    for seed in (1, 2, None, None):
        with TemporaryDirectory() as data_dir:
            emulator = Emulator(data_dir=data_dir, seed=seed)
            async with emulator, sdk(emulator, "sync") as kms:
                drawn.add((await kms.call("GenerateRandom", NumberOfBytes=16)).to_json_string())
                drawn.add(await kms.new_key("orders"))
                drawn.add(emulator.secret_id)
    assert len(drawn) == 12


async def test_a_seed_over_a_store_that_is_kept_makes_new_keys(tmp_path: Path) -> None:
    ids = []
    for alias in ("first", "second"):
        emulator = Emulator(data_dir=tmp_path, seed=1)
        async with emulator, sdk(emulator, "sync") as kms:
            ids.append(await kms.new_key(alias))
            assert await kms.state(ids[0]) == "Enabled"
    assert ids[0] != ids[1]


def test_two_processes_with_one_seed_are_the_same_to_the_last_byte(tmp_path: Path) -> None:
    """The real program and its real clock; all that the SDK sees, dates too."""

    async def answers(endpoint: str, told: dict[str, str]) -> list[str]:
        emulator = Emulator(data_dir=tmp_path / "unused")
        emulator.endpoint, emulator.region = endpoint, told["region"]
        emulator.secret_id, emulator.secret_key = told["secret_id"], told["secret_key"]
        async with sdk(emulator, "sync") as kms:
            made = await kms.call("CreateKey", Alias="orders")
            sealed = await kms.call("Encrypt", KeyId=made.KeyId, Plaintext=b64(b"secret"))
            shown = await kms.call("ListKeyDetail")
            return [answer.to_json_string() for answer in (made, sealed, shown)]

    def one_run() -> tuple[dict[str, str], list[str]]:
        command = [sys.executable, "-m", "batchkms", "emulator", "--seed", "1"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            told = orjson.loads(process.stdout.readline())
            return told, asyncio.run(answers(told.pop("endpoint"), told))
        finally:
            process.terminate()
            process.communicate(timeout=20)

    assert one_run() == one_run()


def test_what_is_drawn_does_not_depend_on_how_much_at_once() -> None:
    one, two = SeededRandomness(7), SeededRandomness(7)
    drawn = b"".join(one.draw(count) for count in (1, 4095, 16, 9000, 0, 3))
    assert drawn == two.draw(len(drawn))
    two.rewind()
    calls = two.draw(32)
    assert calls != drawn[:32]
    two.rewind()
    assert two.draw(32) == calls


@pytest.mark.parametrize("randomness", [Randomness(), SeededRandomness(1)])
def test_ids_have_the_form_of_the_service(randomness: Randomness) -> None:
    form = r"[0-9a-f]{8}-[0-9a-f]{4}-%d[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    requests = {randomness.request_id() for _ in range(500)}
    keys = {randomness.key_id() for _ in range(500)}
    assert all(re.fullmatch(form % 4, drawn) for drawn in requests)
    assert all(re.fullmatch(form % 1, drawn) for drawn in keys)
    assert len(requests) == len(keys) == 500


SEED_FILE = f"""
[[keys]]
id = "{ORDERS}"
alias = "orders"
description = "for orders"
created = 2024-01-01T00:00:00Z
rotate_days = 90
tags = {{ team = "payments" }}
material = "{b64(bytes(range(32)))}"

[[keys]]
id = "{RSA}"
alias = "rsa"
usage = "ASYMMETRIC_DECRYPT_RSA_2048"
derive = "any text"

[[keys]]
id = "33333333-3333-1333-8333-333333333333"
alias = "waiting"
state = "PendingImport"
"""


@pytest.fixture
def seed_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(SEED_FILE)
    return path


async def test_the_keys_of_a_seed_file_are_there_from_the_start(
    tmp_path: Path, seed_file: Path
) -> None:
    clock = Clock()
    one = Emulator(data_dir=tmp_path / "a", seed_file=seed_file, clock=clock)
    async with one, calling(one, clock) as caller:
        blob = await caller.encrypt(b"secret", KeyId=ORDERS)
        shown = (await caller.call("DescribeKey", {"KeyId": ORDERS}))["KeyMetadata"]
        public = await caller.call("GetPublicKey", {"KeyId": RSA})
        listed = await caller.call("ListKeyDetail", {"KeyState": 4})
    assert (shown["Alias"], shown["Description"]) == ("orders", "for orders")
    assert (shown["CreateTime"], shown["RotateDays"]) == (1_704_067_200, 90)
    assert listed["KeyMetadatas"][0]["Origin"] == "EXTERNAL"

    # Another emulator, with a store of its own, has the same keys.
    two = Emulator(data_dir=tmp_path / "b", seed_file=seed_file, clock=clock)
    async with two, calling(two, clock) as caller:
        opened = await caller.call("Decrypt", {"CiphertextBlob": blob})
        assert (opened["KeyId"], opened["Plaintext"]) == (ORDERS, b64(b"secret"))
        assert (await caller.call("GetPublicKey", {"KeyId": RSA}))["PublicKey"] == public[
            "PublicKey"
        ]
        half = serialization.load_der_public_key(base64.b64decode(public["PublicKey"]))
        assert isinstance(half, rsa.RSAPublicKey)
        sealed = half.encrypt(b"secret", padding.PKCS1v15())
        opened = await caller.call(
            "AsymmetricRsaDecrypt",
            {"KeyId": RSA, "Ciphertext": b64(sealed), "Algorithm": "RSAES_PKCS1_V1_5"},
        )
        assert opened["Plaintext"] == b64(b"secret")


async def mess(kms: Sdk, key_ids: list[str]) -> str:
    """Changes everything about keys, and makes one more."""
    for number, key_id in enumerate(key_ids):
        await kms.call("UpdateAlias", KeyId=key_id, Alias=f"renamed-{number}")
        await kms.call("UpdateKeyDescription", KeyId=key_id, Description="changed")
        await kms.call("EnableKeyRotation", KeyId=key_id)
        await kms.call("RotateKey", KeyId=key_id)
        await kms.call("DisableKey", KeyId=key_id)
        await kms.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
    return await kms.new_key("another")


async def test_a_reset_brings_a_kept_store_back_to_the_seed_state(
    tmp_path: Path, seed_file: Path
) -> None:
    options: dict[str, Any] = {"data_dir": tmp_path / "data", "seed_file": seed_file}

    async def told(kms: Sdk) -> str:
        return str((await kms.call("ListKeyDetail", KeyUsage="ALL")).KeyMetadatas)

    async with Emulator(**options) as emulator, sdk(emulator, "sync") as kms:
        before = await told(kms)
        demo = emulator.demo_key_id
        sealed = await kms.call("Encrypt", KeyId=demo, Plaintext=b64(b"secret"))
        another = await mess(kms, [ORDERS, demo])
        assert await told(kms) != before
        await emulator.reset()
        assert await told(kms) == before
        assert await kms.code("DescribeKey", KeyId=another) == "ResourceUnavailable.CmkNotFound"
        opened = await kms.call("Decrypt", CiphertextBlob=sealed.CiphertextBlob)
        assert opened.Plaintext == b64(b"secret")
        await mess(kms, [ORDERS])
    # A store that was left in a mess is one after a restart, until it is reset.
    async with Emulator(**options) as emulator, sdk(emulator, "sync") as kms:
        assert await kms.state(ORDERS) == "PendingDelete"
        assert emulator.demo_key_id == demo
        await emulator.reset()
        assert await told(kms) == before


async def test_a_reset_restores_a_key_that_was_deleted_meanwhile(tmp_path: Path) -> None:
    clock = Clock()
    emulator = Emulator(data_dir=tmp_path, clock=clock)
    async with emulator, calling(emulator, clock) as caller:
        key_id = {"KeyId": emulator.demo_key_id}
        blob = await caller.encrypt(b"secret")
        await caller.call("DisableKey", key_id)
        await caller.call("ScheduleKeyDeletion", {**key_id, "PendingWindowInDays": 7})
        clock.now_s += 8 * 86_400
        assert await caller.code("DescribeKey", key_id) == "ResourceUnavailable.CmkNotFound"
        await emulator.reset()
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "ok"


def refused(tmp_path: Path, text: str) -> tuple[str, str]:
    """What a seed file is refused with: message without the path, and hint."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_seed_file(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return str(caught.value).replace(str(path), "FILE"), caught.value.hint


def entry(**fields: str) -> str:
    lines = {"id": f'"{ORDERS}"', "alias": '"orders"', **fields}
    return "[[keys]]\n" + "\n".join(f"{name} = {value}" for name, value in lines.items()) + "\n"


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"id": '"my-key"'}, "id: expected", "UUID"),
        ({"alias": '"kms-mine"'}, "alias: expected", "1 to 60"),
        ({"alias": "7"}, "alias: expected `str`, got `int`", "1 to 60"),
        ({"description": f'"{"é" * 513}"'}, "description: it is too long", "1,024"),
        ({"state": '"Broken"'}, "state: invalid enum value", "Enabled, Disabled"),
        ({"usage": '"COOKING"'}, "usage: the emulator does not have it", "ENCRYPT_DECRYPT"),
        ({"material": '"canary!"'}, "material: it is no base64", "base64 of 32 bytes"),
        ({"material": f'"{b64(b"canary")}"'}, "material: it is of 6 bytes", "32 bytes"),
        (
            {"material": f'"{b64(bytes(32))}"', "usage": '"ASYMMETRIC_DECRYPT_RSA_2048"'},
            "material: it is no such RSA key",
            "PKCS #8",
        ),
        (
            {"material": f'"{b64(bytes(32))}"', "derive": '"canary"'},
            "derive: there is material already",
            "leave it out",
        ),
        ({"rotate_days": "6"}, "rotate_days: expected `int` >= 7", "7 to 365"),
        (
            {"rotate_days": "7", "usage": '"ASYMMETRIC_DECRYPT_RSA_2048"'},
            "rotate_days: an RSA key does not rotate",
            "leave it out",
        ),
        ({"created": '"yesterday"'}, "created: ", "2024-01-01T00:00:00Z"),
        ({"tags": '"payments"'}, "tags: expected", "team"),
        ({"colour": '"red"'}, ": colour is not known", "the names are"),
        ({"materail": '"canary"'}, ": materail is not known", "did you mean material?"),
    ],
)
def test_a_seed_file_that_says_what_cannot_be(
    tmp_path: Path, fields: dict[str, str], message: str, hint: str
) -> None:
    said, advised = refused(tmp_path, entry(**fields))
    assert said.startswith("seed file FILE, key 1")
    assert message in said
    assert hint in advised
    assert "canary" not in said + advised
    assert b64(b"canary") not in said + advised


def test_a_seed_file_as_a_whole(tmp_path: Path) -> None:
    other = entry(id='"44444444-4444-1444-8444-444444444444"')
    assert "key 2, alias: key 1 has the same" in refused(tmp_path, entry() + other)[0]
    same = entry(alias='"orders-2"')
    assert "key 2, id: key 1 has the same" in refused(tmp_path, entry() + same)[0]
    assert "is no TOML" in refused(tmp_path, "keys = [")[0]
    assert "unknown field `key`" in refused(tmp_path, "[[key]]\n")[0]
    assert "key 1, alias: it is missing" in refused(tmp_path, f'[[keys]]\nid = "{ORDERS}"')[0]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_seed_file(tmp_path / "nowhere.toml")


async def test_a_seed_file_that_the_store_has_no_room_for(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(entry())
    async with Emulator(data_dir=tmp_path / "a") as emulator, sdk(emulator, "sync") as kms:
        await kms.new_key("orders")
    with pytest.raises(ConfigError, match="another key has the alias orders"):
        async with Emulator(data_dir=tmp_path / "a", seed_file=path):
            pass
    async with Emulator(data_dir=tmp_path / "b", key_limit=1):
        pass
    with pytest.raises(ConfigError, match="holds 1 keys already"):
        async with Emulator(data_dir=tmp_path / "b", seed_file=path, key_limit=1):
            pass
    async with Emulator(data_dir=tmp_path / "c", seed_file=path, region="ap-tokyo"):
        pass
    with pytest.raises(ConfigError, match="another region has a key of this id"):
        async with Emulator(data_dir=tmp_path / "c", seed_file=path):
            pass


async def test_processes_that_start_at_once_plant_a_seed_file_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(entry())
    team = [Emulator(data_dir=tmp_path / "data", seed_file=path) for _ in range(4)]
    await asyncio.gather(*(emulator.__aenter__() for emulator in team))
    try:
        assert len({emulator.demo_key_id for emulator in team}) == 1
        for emulator in team:
            async with sdk(emulator, "sync") as kms:
                assert (await kms.call("ListKeys")).TotalCount == 2
    finally:
        await asyncio.gather(*(emulator.__aexit__(None, None, None) for emulator in team))


async def test_a_key_that_is_old_by_its_file_keeps_its_material(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.toml", Clock()
    path.write_text(entry(created="2020-01-01T00:00:00Z", rotate_days="7"))
    emulator = Emulator(data_dir=tmp_path / "data", seed_file=path, clock=clock)
    async with emulator, calling(emulator, clock) as caller:
        shown = (await caller.call("DescribeKey", {"KeyId": ORDERS}))["KeyMetadata"]
        assert shown["LastRotateTime"] == 0
        assert clock.now_s < shown["NextRotateTime"] <= clock.now_s + 7 * 86_400
        assert (shown["NextRotateTime"] - shown["CreateTime"]) % (7 * 86_400) == 0


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 2_000)
    with pytest.raises(ConfigError, match="deep.toml"):
        read_seed_file(path)
