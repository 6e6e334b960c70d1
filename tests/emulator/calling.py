"""Callers of the emulator: signed requests of any shape on a real socket, and the official SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import orjson
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client import KmsClient

from batchkms.emulator import Emulator
from batchkms.kms.signing import (
    canonical_request,
    derive_signing_key,
    signature,
    string_to_sign,
    utc_date,
)

NOW_S = 1_700_000_000.0


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def b64(plaintext: bytes) -> str:
    """Base64, as Plaintext is sent."""
    return base64.b64encode(plaintext).decode()


class Caller:
    """Sends signed calls; every part of a request can be replaced by another.

    Header names and values in `headers` replace what would be sent, after signing; None leaves
    a header out.
    """

    def __init__(self, emulator: Emulator, clock: Clock, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.clock = clock
        self.session = session
        self.host = emulator.endpoint.removeprefix("http://")

    def headers(
        self,
        action: str,
        body: bytes,
        *,
        secret_id: str | None = None,
        secret_key: str | None = None,
        timestamp_s: int | None = None,
        date: str | None = None,
        service: str = "kms",
        signed: dict[str, str] | None = None,
        content_sha256: str | None = None,
    ) -> dict[str, str]:
        """The headers of a call, signed over `signed` (by default content-type and host)."""
        timestamp_s = int(self.clock.now_s) if timestamp_s is None else timestamp_s
        date = utc_date(timestamp_s) if date is None else date
        signed = signed or {"content-type": "application/json", "host": self.host}
        canonical = canonical_request(
            method="POST",
            query="",
            headers=list(signed.items()),
            payload_sha256=content_sha256 or hashlib.sha256(body).hexdigest(),
        )
        key = derive_signing_key(secret_key or self.emulator.secret_key, date, service)
        sealed = signature(key, string_to_sign(timestamp_s, date, service, canonical))
        return {
            "Host": self.host,
            "Content-Type": "application/json",
            "X-TC-Action": action,
            "X-TC-Version": "2019-01-18",
            "X-TC-Timestamp": str(timestamp_s),
            "X-TC-Region": self.emulator.region,
            "Authorization": f"TC3-HMAC-SHA256 Credential={secret_id or self.emulator.secret_id}/"
            f"{date}/{service}/tc3_request, SignedHeaders={';'.join(signed)}, Signature={sealed}",
        }

    async def call(
        self,
        action: str,
        parameters: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str | None] | None = None,
        path: str = "/",
        **signing: Any,
    ) -> dict[str, Any]:
        """The `Response` of a call; holds the transport's promises on the way."""
        body = orjson.dumps({} if parameters is None else parameters) if body is None else body
        sent = self.headers(action, body, **signing)
        for name, value in (headers or {}).items():
            if value is None:
                sent.pop(name)
            else:
                sent[name] = value
        async with self.session.post(
            self.emulator.endpoint + path,
            # aiohttp warns of large bytes, and not of a file of them.
            data=io.BytesIO(body),
            headers=sent,
            skip_auto_headers=["Content-Type"],
        ) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/json"
            response = orjson.loads(await answer.read())["Response"]
        assert isinstance(response, dict)
        assert len(response["RequestId"]) == 36
        return response

    async def code(self, action: str, parameters: Any = None, **changes: Any) -> str:
        """The error code of a call, or `ok`."""
        response = await self.call(action, parameters, **changes)
        return str(response["Error"]["Code"]) if "Error" in response else "ok"

    async def error(self, action: str, parameters: Any = None, **changes: Any) -> tuple[str, str]:
        """Code and message of a call that must fail."""
        error = (await self.call(action, parameters, **changes))["Error"]
        return error["Code"], error["Message"]

    async def encrypt(self, plaintext: bytes, **parameters: Any) -> str:
        """The blob of an Encrypt under the demo key."""
        named = {"KeyId": self.emulator.demo_key_id, "Plaintext": b64(plaintext), **parameters}
        return str((await self.call("Encrypt", named))["CiphertextBlob"])

    async def stats(self, action: str) -> dict[str, Any]:
        """The figures of an action."""
        async with self.session.get(f"{self.emulator.endpoint}/_emulator/stats") as answer:
            return dict(orjson.loads(await answer.read())["actions"][action])


@asynccontextmanager
async def calling(emulator: Emulator, clock: Clock) -> AsyncIterator[Caller]:
    """A caller of a started emulator."""
    async with aiohttp.ClientSession() as session:
        yield Caller(emulator, clock, session)


@contextmanager
def official_client(
    endpoint: str, secret_id: str, secret_key: str, region: str
) -> Iterator[KmsClient]:
    """The official SDK's sync client, as it comes."""
    http = HttpProfile(protocol="http", endpoint=endpoint.removeprefix("http://"))
    credential = Credential(secret_id, secret_key)
    client = KmsClient(credential, region, ClientProfile(httpProfile=http))
    try:
        yield client
    finally:
        # The SDK never closes its connections.
        client.request.conn._session.close()


async def official(client: KmsClient, action: str, **parameters: Any) -> Any:
    """An answer of the official SDK, called in a thread as it blocks."""
    request = getattr(models, f"{action}Request")()
    for name, value in parameters.items():
        setattr(request, name, value)
    return await asyncio.to_thread(getattr(client, action), request)
