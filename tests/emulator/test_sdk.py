"""The official Python SDK, unmodified, against the emulator."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.kms.v20190118.kms_client import KmsClient

from batchkms.emulator import Emulator
from tests.emulator.calling import b64, official, official_client


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(data_dir=tmp_path / "data") as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[KmsClient]:
    with official_client(
        emulator.endpoint, emulator.secret_id, emulator.secret_key, emulator.region
    ) as client:
        yield client


@pytest.mark.parametrize("context", [None, '{"app": "billing", "名": "值"}'])
async def test_what_is_encrypted_decrypts(
    emulator: Emulator, client: KmsClient, context: str | None
) -> None:
    given = {} if context is None else {"EncryptionContext": context}
    plaintext = bytes(range(256))
    encrypted = await official(
        client, "Encrypt", KeyId=emulator.demo_key_id, Plaintext=b64(plaintext), **given
    )
    assert encrypted.KeyId == emulator.demo_key_id
    decrypted = await official(client, "Decrypt", CiphertextBlob=encrypted.CiphertextBlob, **given)
    assert decrypted.KeyId == emulator.demo_key_id
    assert base64.b64decode(decrypted.Plaintext) == plaintext


async def test_an_error_reaches_the_sdk_with_code_message_and_request_id(
    client: KmsClient,
) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        await official(client, "Decrypt", CiphertextBlob="no blob")
    assert caught.value.get_code() == "InvalidParameterValue.InvalidCiphertext"
    # The SDK asks for Chinese unless told otherwise.
    assert caught.value.get_message() == "密文格式错误。"
    assert len(caught.value.get_request_id()) == 36


async def test_a_wrong_secret_key_is_a_signature_failure(emulator: Emulator) -> None:
    with (
        official_client(
            emulator.endpoint, emulator.secret_id, "another key", emulator.region
        ) as client,
        pytest.raises(TencentCloudSDKException) as caught,
    ):
        await official(client, "ListKeys")
    assert caught.value.get_code() == "AuthFailure.SignatureFailure"


async def test_the_sdk_makes_lists_and_describes_keys(
    emulator: Emulator, client: KmsClient
) -> None:
    made = await official(client, "CreateKey", Alias="orders", Description="for orders")
    assert (made.Alias, made.KeyState, made.KeyUsage) == ("orders", "Enabled", "ENCRYPT_DECRYPT")

    listed = await official(client, "ListKeys")
    assert listed.TotalCount == 2
    assert [key.KeyId for key in listed.Keys] == [emulator.demo_key_id, made.KeyId]

    metadata = (await official(client, "DescribeKey", KeyId=made.KeyId)).KeyMetadata
    assert (metadata.KeyId, metadata.Description) == (made.KeyId, "for orders")
    assert (metadata.Owner, metadata.Origin, metadata.Type) == ("user", "TENCENT_KMS", 2)
    assert metadata.CreateTime == made.CreateTime
    assert metadata.NextRotateTime == made.CreateTime + 31_536_000
    assert metadata.ResourceId == f"creatorUin/{metadata.CreatorUin}/{made.KeyId}"


async def test_the_service_status_tells_the_quota_and_the_number_of_keys(
    client: KmsClient,
) -> None:
    status = await official(client, "GetServiceStatus")
    assert status.ServiceEnabled is True
    assert (status.QpsLimit, status.CmkUserCount, status.CmkLimit) == (300, 1, 200)
    assert [(region.Region, region.Qps) for region in status.RegionsQps] == [("ap-guangzhou", 300)]
