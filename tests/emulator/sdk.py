"""The official SDK's two clients behind one face, so that one test drives both."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client_async import KmsClient as AsyncKmsClient

from batchkms.emulator import Emulator
from tests.emulator.calling import official_client

REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Sdk:
    """Calls one emulator with an unmodified client of the official SDK."""

    def __init__(self, emulator: Emulator, client: Any) -> None:
        self.emulator = emulator
        self._client = client

    async def call(self, action: str, **parameters: Any) -> Any:
        """The answer, whose request id was looked at. Raises TencentCloudSDKException."""
        request = getattr(models, f"{action}Request")()
        request.from_json_string(orjson.dumps(parameters).decode())
        method = getattr(self._client, action)
        if isinstance(self._client, AsyncKmsClient):
            answer = await method(request)
        else:
            answer = await asyncio.to_thread(method, request)
        assert REQUEST_ID.fullmatch(answer.RequestId)
        return answer

    async def code(self, action: str, **parameters: Any) -> str:
        """The error code that the SDK raises, or `ok`; an error has a text and a request id."""
        try:
            await self.call(action, **parameters)
        except TencentCloudSDKException as error:
            assert REQUEST_ID.fullmatch(error.get_request_id())
            assert error.get_message()
            return str(error.get_code())
        return "ok"

    async def new_key(self, alias: str, **parameters: Any) -> str:
        """The id of a fresh key."""
        return str((await self.call("CreateKey", Alias=alias, **parameters)).KeyId)

    async def state(self, key_id: str) -> str:
        """The state that DescribeKey tells."""
        return str((await self.call("DescribeKey", KeyId=key_id)).KeyMetadata.KeyState)


@asynccontextmanager
async def sdk(emulator: Emulator, kind: str) -> AsyncIterator[Sdk]:
    """The `sync` or the `async` client for an emulator."""
    given = (emulator.endpoint, emulator.secret_id, emulator.secret_key, emulator.region)
    if kind == "sync":
        with official_client(*given) as client:
            yield Sdk(emulator, client)
        return
    http = HttpProfile(protocol="http", endpoint=given[0].removeprefix("http://"))
    http.keepAlive = True
    async with AsyncKmsClient(
        Credential(*given[1:3]), given[3], ClientProfile(httpProfile=http)
    ) as client:
        yield Sdk(emulator, client)
