"""The official Python SDK, sync and async, in every way to sign and send."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, kms_client_async, models

from batchkms.emulator import Emulator
from tests.emulator.calling import b64

Do = Callable[..., Awaitable[Any]]
"""Calls an action with its parameters, and returns the SDK's answer."""

CONTEXT = '{"app": "billing + more & a=b", "名": "值 %41"}'
PLAINTEXT = bytes(range(256))


class Client:
    """A client of the SDK that can be sync or async."""

    def __init__(self, emulator: Emulator, stack: AsyncExitStack, *, is_async: bool) -> None:
        self._emulator = emulator
        self._stack = stack
        self._is_async = is_async

    def doing(
        self,
        *,
        secret_id: str | None = None,
        secret_key: str | None = None,
        token: str | None = None,
        **profile: Any,
    ) -> Do:
        """A function that calls actions, signed and sent as `profile` says."""
        endpoint = self._emulator.endpoint.removeprefix("http://")
        http = HttpProfile(
            protocol="http", endpoint=endpoint, reqMethod=profile.pop("reqMethod", "POST")
        )
        credential = Credential(
            secret_id or self._emulator.secret_id, secret_key or self._emulator.secret_key, token
        )
        unsigned = profile.pop("unsignedPayload", False)
        how = ClientProfile(httpProfile=http, **profile)
        how.unsignedPayload = unsigned
        given = (credential, self._emulator.region, how)
        return self._async(*given) if self._is_async else self._sync(*given)

    def _sync(self, *given: Any) -> Do:
        client = kms_client.KmsClient(*given)
        # The SDK never closes its connections.
        self._stack.callback(client.request.conn._session.close)

        async def do(action: str, **parameters: Any) -> Any:
            return await asyncio.to_thread(getattr(client, action), request(action, parameters))

        return do

    def _async(self, *given: Any) -> Do:
        client = kms_client_async.KmsClient(*given)
        self._stack.push_async_callback(client.close)

        async def do(action: str, **parameters: Any) -> Any:
            return await getattr(client, action)(request(action, parameters))

        return do


def request(action: str, parameters: dict[str, Any]) -> Any:
    """The SDK's request object."""
    made = getattr(models, f"{action}Request")()
    for name, value in parameters.items():
        setattr(made, name, value)
    return made


VISITOR = """
[[credentials]]
secret_id = "visitor"
secret_key = "visitor's key"
token = "visitor's + token"
"""


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    path = tmp_path / "credentials.toml"
    path.write_text(VISITOR, encoding="utf-8")
    async with Emulator(data_dir=tmp_path / "data", credentials=path) as emulator:
        yield emulator


@pytest.fixture(params=["sync", "async"])
async def client(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        yield Client(emulator, stack, is_async=request.param == "async")


EVERY_WAY = [
    pytest.param({"signMethod": method, "reqMethod": http}, id=f"{method}-{http}")
    for method in ("TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256")
    for http in ("POST", "GET")
]


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_the_core_scenario(emulator: Emulator, client: Client, way: dict[str, Any]) -> None:
    do = client.doing(**way)
    sealed = await do(
        "Encrypt",
        KeyId=emulator.demo_key_id,
        Plaintext=b64(PLAINTEXT),
        EncryptionContext=CONTEXT,
    )
    opened = await do("Decrypt", CiphertextBlob=sealed.CiphertextBlob, EncryptionContext=CONTEXT)
    assert base64.b64decode(opened.Plaintext) == PLAINTEXT
    other = (await do("CreateKey", Alias="orders", Description="for orders, + and &")).KeyId
    listed = await do("ListKeys", Offset=0, Limit=10)
    key_ids = [key.KeyId for key in listed.Keys]
    assert sorted(key_ids) == sorted([emulator.demo_key_id, other])
    described = await do("DescribeKeys", KeyIds=[other, emulator.demo_key_id])
    assert {metadata.KeyId: metadata.Alias for metadata in described.KeyMetadatas} == {
        other: "orders",
        emulator.demo_key_id: "batchkms-demo",
    }
    assert len(described.RequestId) == 36


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_failures_reach_the_sdk(client: Client, way: dict[str, Any]) -> None:
    for given, code in (
        ({"secret_key": "another"}, "AuthFailure.SignatureFailure"),
        ({"secret_id": "AKIDEXAMPLE"}, "AuthFailure.SecretIdNotFound"),
        ({"token": "none"}, "AuthFailure.TokenFailure"),
    ):
        with pytest.raises(TencentCloudSDKException) as caught:
            await client.doing(**given, **way)("ListKeys")
        assert caught.value.get_code() == code
        assert len(caught.value.get_request_id()) == 36


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_temporary_credentials(client: Client, way: dict[str, Any]) -> None:
    visitor = {"secret_id": "visitor", "secret_key": "visitor's key"}
    do = client.doing(**visitor, token="visitor's + token", **way)
    assert (await do("ListKeys")).TotalCount == 1


async def test_the_sdk_asks_for_chinese_unless_told(client: Client) -> None:
    for profile, text in (
        ({}, "密文格式错误。"),
        ({"language": "en-US"}, "The ciphertext is in incorrect format."),
    ):
        for method in ("TC3-HMAC-SHA256", "HmacSHA256"):
            with pytest.raises(TencentCloudSDKException) as caught:
                await client.doing(signMethod=method, **profile)("Decrypt", CiphertextBlob="none")
            assert caught.value.get_message() == text


async def test_an_unsigned_payload(client: Client) -> None:
    assert (await client.doing(unsignedPayload=True)("ListKeys")).TotalCount == 1
