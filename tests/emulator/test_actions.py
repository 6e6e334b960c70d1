"""Every action through the official SDK, sync and async: fields, states and documented codes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tencentcloud.kms.v20190118 import models

from batchkms.emulator import Emulator
from batchkms.emulator.actions import ACTIONS
from tests.emulator.calling import b64
from tests.emulator.sdk import REQUEST_ID, Sdk, sdk

NO_SUCH_KEY = "00000000-0000-1000-8000-000000000000"
NO_KEY_ID = "InvalidParameterValue.InvalidKeyId"
NOT_FOUND = "ResourceUnavailable.CmkNotFound"
DISABLED = "ResourceUnavailable.CmkDisabled"
ARCHIVED = "ResourceUnavailable.CmkArchived"
NOT_SUPPORTED = "ResourceUnavailable.CmkStateNotSupport"
SHOULD_BE_DISABLED = "ResourceUnavailable.CmkShouldBeDisabled"
NOT_PENDING_DELETE = "ResourceUnavailable.CmkNotPendingDelete"
PENDING_DELETE = "ResourceUnavailable.KeyPendingDelete"
DAY_S = 86_400

OAEP = {
    "RSAES_OAEP_SHA_1": hashes.SHA1(),  # noqa: S303 - the algorithm's own
    "RSAES_OAEP_SHA_256": hashes.SHA256(),
}
CALLER_KEY = rsa.generate_private_key(65_537, 2048)


def padding_of(algorithm: str) -> padding.AsymmetricPadding:
    digest = OAEP.get(algorithm)
    return (
        padding.PKCS1v15() if digest is None else padding.OAEP(padding.MGF1(digest), digest, None)
    )


def pem_of(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(data_dir=tmp_path / "data", rate_limit=None) as emulator:
        yield emulator


@pytest.fixture(params=["sync", "async"])
async def kms(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[Sdk]:
    async with sdk(emulator, request.param) as kms:
        yield kms


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_takes_exactly_the_parameters_of_the_sdk(action: str) -> None:
    request = getattr(models, f"{action}Request")()
    assert {name.removeprefix("_") for name in vars(request)} - {"headers"} == set(
        ACTIONS[action].parameters.kinds
    )


async def test_encrypt_and_decrypt(kms: Sdk) -> None:
    key_id = kms.emulator.demo_key_id
    context = '{"app": "billing"}'
    made = await kms.call(
        "Encrypt", KeyId=key_id, Plaintext=b64(b"secret"), EncryptionContext=context
    )
    assert made.KeyId == key_id
    opened = await kms.call(
        "Decrypt", CiphertextBlob=made.CiphertextBlob, EncryptionContext=context
    )
    assert (opened.KeyId, opened.Plaintext) == (key_id, b64(b"secret"))
    code = await kms.code("Decrypt", CiphertextBlob=made.CiphertextBlob)
    assert code == "InvalidParameterValue.InvalidCiphertext"


async def test_reencrypt_gives_the_blob_back_until_something_changes(kms: Sdk) -> None:
    key_id, other = kms.emulator.demo_key_id, await kms.new_key("other")
    blob = (await kms.call("Encrypt", KeyId=key_id, Plaintext=b64(b"secret"))).CiphertextBlob

    same = await kms.call("ReEncrypt", CiphertextBlob=blob)
    assert (same.CiphertextBlob, same.ReEncrypted) == (blob, False)
    assert (same.KeyId, same.SourceKeyId) == (key_id, key_id)

    moved = await kms.call("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=other)
    assert (moved.KeyId, moved.SourceKeyId, moved.ReEncrypted) == (other, key_id, True)
    opened = await kms.call("Decrypt", CiphertextBlob=moved.CiphertextBlob)
    assert (opened.KeyId, opened.Plaintext) == (other, b64(b"secret"))

    bound = await kms.call(
        "ReEncrypt", CiphertextBlob=blob, DestinationEncryptionContext='{"a":"b"}'
    )
    assert bound.ReEncrypted is True
    assert await kms.code("Decrypt", CiphertextBlob=bound.CiphertextBlob) != "ok"
    freed = await kms.call(
        "ReEncrypt", CiphertextBlob=bound.CiphertextBlob, SourceEncryptionContext='{"a":"b"}'
    )
    assert (await kms.call("Decrypt", CiphertextBlob=freed.CiphertextBlob)).Plaintext == b64(
        b"secret"
    )


async def test_after_a_rotation_old_blobs_decrypt_and_are_reencrypted(kms: Sdk) -> None:
    key_id = kms.emulator.demo_key_id
    blob = (await kms.call("Encrypt", KeyId=key_id, Plaintext=b64(b"secret"))).CiphertextBlob
    assert await kms.code("RotateKey", KeyId=key_id) == "UnsupportedOperation.RotateNotSupported"
    assert (await kms.call("GetKeyRotationStatus", KeyId=key_id)).KeyRotationEnabled is False
    await kms.call("EnableKeyRotation", KeyId=key_id, RotateDays=30)
    assert (await kms.call("GetKeyRotationStatus", KeyId=key_id)).KeyRotationEnabled is True

    assert REQUEST_ID.fullmatch((await kms.call("RotateKey", KeyId=key_id)).TaskId)
    shown = (await kms.call("DescribeKey", KeyId=key_id)).KeyMetadata
    assert (shown.KeyRotationEnabled, shown.RotateDays) == (True, 30)
    assert shown.NextRotateTime == shown.LastRotateTime + 30 * DAY_S
    assert (await kms.call("Decrypt", CiphertextBlob=blob)).Plaintext == b64(b"secret")
    fresh = await kms.call("ReEncrypt", CiphertextBlob=blob)
    assert (fresh.ReEncrypted, fresh.KeyId) == (True, key_id)
    assert fresh.CiphertextBlob.split("-k-")[0] != blob.split("-k-")[0]
    again = await kms.call("ReEncrypt", CiphertextBlob=fresh.CiphertextBlob)
    assert again.ReEncrypted is False

    code = await kms.code("RotateKey", KeyId=key_id)
    assert code == "RequestLimitExceeded.RotateRateLimited"
    await kms.call("DisableKeyRotation", KeyId=key_id)
    assert (await kms.call("GetKeyRotationStatus", KeyId=key_id)).KeyRotationEnabled is False


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"KeySpec": "AES_128"}, 16),
        ({"KeySpec": "AES_256"}, 32),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024, "KeySpec": "AES_128"}, 1024),
    ],
)
async def test_a_data_key_comes_plain_and_encrypted(
    kms: Sdk, parameters: dict[str, Any], size: int
) -> None:
    key_id = kms.emulator.demo_key_id
    made = await kms.call(
        "GenerateDataKey", KeyId=key_id, EncryptionContext='{"a":"b"}', **parameters
    )
    assert (made.KeyId, made.TagCode) == (key_id, 0)
    assert len(base64.b64decode(made.Plaintext)) == size
    opened = await kms.call(
        "Decrypt", CiphertextBlob=made.CiphertextBlob, EncryptionContext='{"a":"b"}'
    )
    assert opened.Plaintext == made.Plaintext


@pytest.mark.parametrize("algorithm", ["RSAES_PKCS1_V1_5", *OAEP])
@pytest.mark.parametrize("seed", [None, 1])
async def test_answers_are_encrypted_to_a_public_key_of_rsa(
    tmp_path: Path, algorithm: str, seed: int | None
) -> None:
    given = {"EncryptionPublicKey": pem_of(CALLER_KEY), "EncryptionAlgorithm": algorithm}
    async with Emulator(data_dir=tmp_path, seed=seed) as emulator, sdk(emulator, "sync") as kms:
        made = await kms.call(
            "GenerateDataKey", KeyId=emulator.demo_key_id, KeySpec="AES_256", **given
        )
        opened = await kms.call("Decrypt", CiphertextBlob=made.CiphertextBlob, **given)
        plain = await kms.call("Decrypt", CiphertextBlob=made.CiphertextBlob)
    for answer in (made, opened):
        sealed = base64.b64decode(answer.Plaintext)
        assert len(sealed) == 256
        assert CALLER_KEY.decrypt(sealed, padding_of(algorithm)) == base64.b64decode(
            plain.Plaintext
        )


@pytest.mark.parametrize(("seed", "most"), [(None, 245), (1, 245)])
async def test_an_answer_too_long_for_the_public_key(
    tmp_path: Path, seed: int | None, most: int
) -> None:
    given = {
        "EncryptionPublicKey": pem_of(CALLER_KEY),
        "EncryptionAlgorithm": "RSAES_PKCS1_V1_5",
    }
    async with Emulator(data_dir=tmp_path, seed=seed) as emulator, sdk(emulator, "sync") as kms:
        key_id = emulator.demo_key_id
        fits = await kms.code("GenerateDataKey", KeyId=key_id, NumberOfBytes=most, **given)
        too_long = await kms.code("GenerateDataKey", KeyId=key_id, NumberOfBytes=most + 1, **given)
    assert (fits, too_long) == ("ok", "FailedOperation.EncryptionError")


async def test_public_keys_that_cannot_be_used(kms: Sdk) -> None:
    small = pem_of(rsa.generate_private_key(65_537, 1024))  # noqa: S505 - it is to be refused
    for pem, algorithm, code in (
        (pem_of(CALLER_KEY), None, "UnsupportedOperation"),
        (pem_of(CALLER_KEY), "SM2", "UnsupportedOperation"),
        (pem_of(CALLER_KEY), "ROT13", "InvalidParameter"),
        ("no PEM", "RSAES_PKCS1_V1_5", "InvalidParameter"),
        (small, "RSAES_OAEP_SHA_1", "InvalidParameter"),
    ):
        given: dict[str, Any] = {"EncryptionPublicKey": pem}
        if algorithm is not None:
            given["EncryptionAlgorithm"] = algorithm
        key_id = kms.emulator.demo_key_id
        assert await kms.code("GenerateDataKey", KeyId=key_id, NumberOfBytes=1, **given) == code


async def test_random_bytes(kms: Sdk) -> None:
    drawn = [(await kms.call("GenerateRandom", NumberOfBytes=1024)).Plaintext for _ in range(2)]
    assert [len(base64.b64decode(text)) for text in drawn] == [1024, 1024]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("algorithm", ["RSAES_PKCS1_V1_5", *OAEP])
async def test_an_rsa_key_decrypts_what_its_public_half_has_encrypted(
    emulator: Emulator, algorithm: str
) -> None:
    async with sdk(emulator, "async") as kms:
        key_id = await kms.new_key("rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
        shown = await kms.call("GetPublicKey", KeyId=key_id)
        public = serialization.load_der_public_key(base64.b64decode(shown.PublicKey))
        assert public == serialization.load_pem_public_key(shown.PublicKeyPem.encode())
        assert isinstance(public, rsa.RSAPublicKey)
        assert public.key_size == 2048
        given = {"KeyId": key_id, "Algorithm": algorithm}
        sealed = b64(public.encrypt(b"secret", padding_of(algorithm)))
        opened = await kms.call("AsymmetricRsaDecrypt", Ciphertext=sealed, **given)
        assert (opened.KeyId, opened.Plaintext) == (key_id, b64(b"secret"))
        for ciphertext, code in (
            ("no base64", "InvalidParameter"),
            (b64(b"too short"), "FailedOperation.DecryptError"),
        ):
            assert await kms.code("AsymmetricRsaDecrypt", Ciphertext=ciphertext, **given) == code
        metadata = (await kms.call("DescribeKey", KeyId=key_id)).KeyMetadata
        assert metadata.KeyUsage == "ASYMMETRIC_DECRYPT_RSA_2048"


async def test_usages_do_not_mix(kms: Sdk) -> None:
    symmetric = kms.emulator.demo_key_id
    asymmetric = await kms.new_key("rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    usage = "InvalidParameterValue.InvalidKeyUsage"
    assert await kms.code("Encrypt", KeyId=asymmetric, Plaintext=b64(b"a")) == NO_KEY_ID
    assert await kms.code("GenerateDataKey", KeyId=asymmetric, NumberOfBytes=1) == usage
    assert await kms.code("GetPublicKey", KeyId=symmetric) == NO_KEY_ID
    given = {"Ciphertext": b64(bytes(256)), "Algorithm": "RSAES_PKCS1_V1_5"}
    assert await kms.code("AsymmetricRsaDecrypt", KeyId=symmetric, **given) == usage
    assert await kms.code("EnableKeyRotation", KeyId=asymmetric) == "InvalidParameterValue"
    code = await kms.code("RotateKey", KeyId=asymmetric)
    assert code == "UnsupportedOperation.RotateNotSupported"


async def test_create_describe_and_rename(kms: Sdk) -> None:
    made = await kms.call("CreateKey", Alias="orders", Description="for orders")
    assert (made.KeyState, made.KeyUsage, made.TagCode) == ("Enabled", "ENCRYPT_DECRYPT", 0)
    await kms.call("UpdateAlias", KeyId=made.KeyId, Alias="orders-2")
    await kms.call("UpdateKeyDescription", KeyId=made.KeyId, Description="for older orders")
    described = await kms.call("DescribeKeys", KeyIds=[made.KeyId, kms.emulator.demo_key_id])
    shown, demo = described.KeyMetadatas
    assert demo.KeyId == kms.emulator.demo_key_id
    assert (shown.KeyId, shown.Alias, shown.Description) == (
        made.KeyId,
        "orders-2",
        "for older orders",
    )
    assert (shown.Owner, shown.Origin, shown.Type, shown.ValidTo) == ("user", "TENCENT_KMS", 2, 0)
    assert shown.NextRotateTime == shown.CreateTime + 365 * DAY_S
    assert shown.CreatorUinString == str(shown.CreatorUin)
    for alias in ("batchkms-demo", "orders-2"):
        taken = await kms.code("CreateKey", Alias=alias)
        assert taken == "InvalidParameterValue.AliasAlreadyExists"
    assert await kms.code("UpdateAlias", KeyId=made.KeyId, Alias="orders-2") == "ok"
    taken = await kms.code("UpdateAlias", KeyId=made.KeyId, Alias="batchkms-demo")
    assert taken == "InvalidParameterValue.AliasAlreadyExists"


async def test_a_key_for_imported_material_waits_for_it(kms: Sdk) -> None:
    key_id = await kms.new_key("mine", Type=2)
    shown = (await kms.call("DescribeKey", KeyId=key_id)).KeyMetadata
    assert (shown.KeyState, shown.Origin) == ("PendingImport", "EXTERNAL")
    assert await kms.code("Encrypt", KeyId=key_id, Plaintext=b64(b"a")) == NOT_SUPPORTED
    assert await kms.code("EnableKey", KeyId=key_id) == NOT_SUPPORTED
    code = await kms.code("EnableKeyRotation", KeyId=key_id)
    assert code == "UnsupportedOperation.ExternalCmkCanNotRotate"
    code = await kms.code("RotateKey", KeyId=key_id)
    assert code == "UnsupportedOperation.RotateNotSupported"
    await kms.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
    await kms.call("CancelKeyDeletion", KeyId=key_id)
    assert await kms.state(key_id) == "PendingImport"


async def test_a_key_through_all_of_its_states(kms: Sdk) -> None:
    key_id = kms.emulator.demo_key_id
    blob = (await kms.call("Encrypt", KeyId=key_id, Plaintext=b64(b"secret"))).CiphertextBlob

    async def codes() -> list[str]:
        return [
            await kms.code("Encrypt", KeyId=key_id, Plaintext=b64(b"a")),
            await kms.code("Decrypt", CiphertextBlob=blob),
            await kms.code("ReEncrypt", CiphertextBlob=blob),
            await kms.code("GenerateDataKey", KeyId=key_id, KeySpec="AES_128"),
            await kms.code("EnableKeyRotation", KeyId=key_id),
            await kms.code("CancelKeyArchive", KeyId=key_id),
            await kms.code("CancelKeyDeletion", KeyId=key_id),
            await kms.code("UpdateAlias", KeyId=key_id, Alias="renamed"),
            await kms.code("UpdateKeyDescription", KeyId=key_id, Description="text"),
        ]

    enabled = ["ok"] * 5 + [NOT_SUPPORTED, NOT_PENDING_DELETE, "ok", "ok"]
    assert await codes() == enabled
    schedule = {"KeyId": key_id, "PendingWindowInDays": 7}
    assert await kms.code("ScheduleKeyDeletion", **schedule) == SHOULD_BE_DISABLED

    await kms.call("ArchiveKey", KeyId=key_id)
    assert await kms.state(key_id) == "Archived"
    assert await codes() == [
        ARCHIVED,
        "ok",
        ARCHIVED,
        ARCHIVED,
        NOT_SUPPORTED,
        "ok",  # It is enabled again from here on.
        NOT_PENDING_DELETE,
        "ok",
        "ok",
    ]
    assert await kms.state(key_id) == "Enabled"

    await kms.call("DisableKey", KeyId=key_id)
    assert await kms.state(key_id) == "Disabled"
    assert await codes() == [DISABLED] * 4 + [NOT_SUPPORTED] * 2 + [NOT_PENDING_DELETE, "ok", "ok"]

    scheduled = await kms.call("ScheduleKeyDeletion", **schedule)
    shown = (await kms.call("DescribeKey", KeyId=key_id)).KeyMetadata
    assert (shown.KeyState, shown.DeletionDate) == ("PendingDelete", scheduled.DeletionDate)
    assert scheduled.KeyId == key_id
    assert await kms.code("ScheduleKeyDeletion", **schedule) == NOT_SUPPORTED
    assert await kms.code("EnableKey", KeyId=key_id) == NOT_SUPPORTED
    assert await kms.code("DisableKey", KeyId=key_id) == NOT_SUPPORTED
    assert await kms.code("ArchiveKey", KeyId=key_id) == NOT_SUPPORTED
    assert await kms.code("UpdateAlias", KeyId=key_id, Alias="new") == NOT_SUPPORTED
    code = await kms.code("UpdateKeyDescription", KeyId=key_id, Description="new")
    assert code == NOT_SUPPORTED
    code = await kms.code("GenerateDataKey", KeyId=key_id, KeySpec="AES_128")
    assert code == PENDING_DELETE

    assert (await kms.call("CancelKeyDeletion", KeyId=key_id)).KeyId == key_id
    shown = (await kms.call("DescribeKey", KeyId=key_id)).KeyMetadata
    assert (shown.KeyState, shown.DeletionDate) == ("Disabled", 0)
    await kms.call("EnableKey", KeyId=key_id)
    assert (await kms.call("Decrypt", CiphertextBlob=blob)).Plaintext == b64(b"secret")


async def test_an_rsa_key_serves_only_while_it_is_enabled(kms: Sdk) -> None:
    key_id = await kms.new_key("rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    await kms.call("DisableKey", KeyId=key_id)
    given = {"Ciphertext": b64(bytes(256)), "Algorithm": "RSAES_PKCS1_V1_5"}
    assert await kms.code("GetPublicKey", KeyId=key_id) == NOT_SUPPORTED
    assert await kms.code("AsymmetricRsaDecrypt", KeyId=key_id, **given) == NOT_SUPPORTED


async def test_several_keys_change_together_or_not_at_all(kms: Sdk) -> None:
    ids = [await kms.new_key(f"key-{number}") for number in range(3)]
    await kms.call("DisableKeys", KeyIds=ids)
    assert {await kms.state(key_id) for key_id in ids} == {"Disabled"}
    assert await kms.code("EnableKeys", KeyIds=[*ids, NO_SUCH_KEY]) == NOT_FOUND
    assert await kms.code("EnableKeys", KeyIds=[*ids, "no id"]) == NO_KEY_ID
    await kms.call("ScheduleKeyDeletion", KeyId=ids[2], PendingWindowInDays=30)
    assert await kms.code("EnableKeys", KeyIds=ids) == NOT_SUPPORTED
    assert [await kms.state(key_id) for key_id in ids] == ["Disabled", "Disabled", "PendingDelete"]
    await kms.call("EnableKeys", KeyIds=ids[:2])
    assert [await kms.state(key_id) for key_id in ids[:2]] == ["Enabled", "Enabled"]


@pytest.mark.parametrize("action", ["EnableKeys", "DisableKeys", "DescribeKeys"])
async def test_a_list_of_keys_has_limits(kms: Sdk, action: str) -> None:
    key_id = kms.emulator.demo_key_id
    duplicated = "InvalidParameterValue.DuplicatedKeyId"
    many = [f"{number:08x}{NO_SUCH_KEY[8:]}" for number in range(101)]
    assert await kms.code(action, KeyIds=[]) == "InvalidParameter"
    assert await kms.code(action, KeyIds=many) == "InvalidParameter"
    assert await kms.code(action, KeyIds=many[:100]) == NOT_FOUND
    assert await kms.code(action, KeyIds=[key_id, key_id]) == duplicated
    assert await kms.code(action, KeyIds=[key_id, 1]) == "InvalidParameter"


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("Encrypt", {"Plaintext": "YQ=="}),
        ("GenerateDataKey", {"NumberOfBytes": 1}),
        ("DescribeKey", {}),
        ("EnableKey", {}),
        ("DisableKey", {}),
        ("ArchiveKey", {}),
        ("CancelKeyArchive", {}),
        ("EnableKeyRotation", {}),
        ("DisableKeyRotation", {}),
        ("GetKeyRotationStatus", {}),
        ("RotateKey", {}),
        ("ScheduleKeyDeletion", {"PendingWindowInDays": 7}),
        ("CancelKeyDeletion", {}),
        ("UpdateAlias", {"Alias": "a"}),
        ("UpdateKeyDescription", {"Description": "a"}),
        ("GetPublicKey", {}),
        ("AsymmetricRsaDecrypt", {"Ciphertext": "YQ==", "Algorithm": "RSAES_PKCS1_V1_5"}),
    ],
)
async def test_no_action_finds_a_key_that_is_not_there(
    kms: Sdk, action: str, parameters: dict[str, Any]
) -> None:
    assert await kms.code(action, KeyId=NO_SUCH_KEY, **parameters) == NOT_FOUND
    assert await kms.code(action, KeyId="alias/orders", **parameters) == NO_KEY_ID


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("GenerateDataKey", {}, "MissingParameter"),
        ("GenerateDataKey", {"KeySpec": "AES_512"}, "InvalidParameter"),
        ("GenerateDataKey", {"NumberOfBytes": 0}, "InvalidParameter"),
        ("GenerateDataKey", {"NumberOfBytes": 1025}, "InvalidParameter"),
        ("GenerateDataKey", {"NumberOfBytes": 1, "IsHostedByKms": 1}, "UnsupportedOperation"),
        (
            "GenerateDataKey",
            {"NumberOfBytes": 1, "HsmClusterId": "hsm-1"},
            "InvalidParameterValue.InvalidHsmClusterId",
        ),
        ("EnableKeyRotation", {"RotateDays": 6}, "InvalidParameterValue"),
        ("EnableKeyRotation", {"RotateDays": 366}, "InvalidParameterValue"),
        (
            "ScheduleKeyDeletion",
            {"PendingWindowInDays": 6},
            "InvalidParameter.InvalidPendingWindowInDays",
        ),
        (
            "ScheduleKeyDeletion",
            {"PendingWindowInDays": 31},
            "InvalidParameter.InvalidPendingWindowInDays",
        ),
        ("UpdateAlias", {"Alias": "kms-mine"}, "InvalidParameterValue.InvalidAlias"),
        ("UpdateKeyDescription", {"Description": "é" * 513}, "InvalidParameter"),
        (
            "EnableKey",
            {"MemberAccount": {"MemberUin": 1}},
            "UnsupportedOperation.NotRoleOperation",
        ),
    ],
)
async def test_values_that_an_action_refuses(
    kms: Sdk, action: str, parameters: dict[str, Any], code: str
) -> None:
    assert await kms.code(action, KeyId=kms.emulator.demo_key_id, **parameters) == code


@pytest.mark.parametrize("count", [0, 1025])
async def test_random_bytes_have_limits(kms: Sdk, count: int) -> None:
    assert await kms.code("GenerateRandom", NumberOfBytes=count) == "InvalidParameter"


async def test_what_the_region_has(kms: Sdk) -> None:
    assert (await kms.call("GetRegions")).Regions == ["ap-guangzhou"]
    algorithms = await kms.call("ListAlgorithms")
    told = [*algorithms.SymmetricAlgorithms, *algorithms.AsymmetricAlgorithms]
    assert [(each.KeyUsage, each.Algorithm) for each in told] == [
        ("ENCRYPT_DECRYPT", "AES_256"),
        ("ASYMMETRIC_DECRYPT_RSA_2048", "RSA_2048"),
    ]
    status = await kms.call("GetServiceStatus")
    assert (status.ServiceEnabled, status.CmkUserCount, status.IsAllowedSync) == (True, 1, False)
