"""The CVM role's credentials, from a real metadata server on loopback, on a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchkms.errors import CredentialsError, Scope
from batchkms.kms.credentials import REFRESH_BEFORE_S, CvmRoleCredentials

PATH = "/latest/meta-data/cam/security-credentials/"
SECRET = "tmp-secret-of-the-role"  # noqa: S105 - made up


class Metadata:
    """What the metadata server answers, and what it was asked."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.lifetime_s = 7_200.0
        self.asked = 0
        self.broken = False
        self.answer: Callable[[], Any] | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def clock(self) -> float:
        return self.now

    async def role(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(status=404)
        return web.Response(text="the-role\n")

    async def keys(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.broken:
            return web.Response(status=500)
        body = {
            "TmpSecretId": f"id-{number}",
            "TmpSecretKey": SECRET,
            "ExpiredTime": int(self.now + self.lifetime_s),
            "Token": f"token-{number}",
            "Code": "Success",
        }
        if self.answer is not None:
            return web.Response(body=self.answer())
        return await _in_two_parts(request, orjson.dumps(body))


async def _in_two_parts(request: web.Request, body: bytes) -> web.StreamResponse:
    # A network may cut an answer anywhere.
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(body[:20])
    await asyncio.sleep(0.005)
    await response.write(body[20:])
    return response


@asynccontextmanager
async def role_of(
    metadata: Metadata, *, timeout_s: float = 2.0
) -> AsyncIterator[CvmRoleCredentials]:
    app = web.Application()
    app.router.add_get(PATH, metadata.role)
    app.router.add_get(PATH + "the-role", metadata.keys)
    server = TestServer(app)
    await server.start_server()
    source = CvmRoleCredentials(
        url=str(server.make_url(PATH)), timeout_s=timeout_s, wall_clock=metadata.clock
    )
    try:
        yield source
    finally:
        await source.aclose()
        metadata.gate.set()
        await server.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 - what is waited for happens behind a socket
            await asyncio.sleep(0.001)


async def test_the_role_gives_temporary_credentials_even_in_parts() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        value = await source.credentials()
    assert (value.secret_id, value.secret_key, value.token) == ("id-1", SECRET, "token-1")
    assert value.expires_at == metadata.now + metadata.lifetime_s


async def test_they_are_asked_for_once_whoever_waits() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        values = await asyncio.gather(*(source.credentials() for _ in range(50)))
        assert {value.secret_id for value in values} == {"id-1"}
        metadata.now += metadata.lifetime_s - REFRESH_BEFORE_S - 1
        assert (await source.credentials()).secret_id == "id-1"
        assert metadata.asked == 1


async def test_they_are_renewed_before_they_expire_and_nobody_waits() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        await source.credentials()
        metadata.now += metadata.lifetime_s - REFRESH_BEFORE_S
        metadata.gate.clear()  # the server takes its time
        async with asyncio.timeout(0.5):
            early = [await source.credentials() for _ in range(100)]
        assert {value.secret_id for value in early} == {"id-1"}
        metadata.gate.set()
        await until(lambda: metadata.asked == 2)
        while (await source.credentials()).secret_id == "id-1":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        assert (await source.credentials()).secret_id == "id-2"
        assert metadata.asked == 2


async def test_a_failed_renewal_is_tried_again_while_the_old_ones_last() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        await source.credentials()
        metadata.now += metadata.lifetime_s - REFRESH_BEFORE_S
        metadata.broken = True
        assert (await source.credentials()).secret_id == "id-1"
        await asyncio.sleep(0.05)
        metadata.broken = False
        assert (await source.credentials()).secret_id == "id-1"
        await asyncio.sleep(0.05)
        assert metadata.asked == 1, "not again within ten seconds"
        metadata.now += 10
        await source.credentials()
        await until(lambda: metadata.asked == 2)


async def test_expired_ones_are_never_used() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        await source.credentials()
        metadata.now += metadata.lifetime_s
        assert (await source.credentials()).secret_id == "id-2"
        metadata.now += metadata.lifetime_s
        metadata.broken = True
        with pytest.raises(CredentialsError) as caught:
            await source.credentials()
    assert caught.value.code == "NoCredentials"
    assert caught.value.verdict.scope is Scope.RUN


async def test_closing_ends_a_renewal_under_way() -> None:
    metadata = Metadata()
    async with role_of(metadata) as source:
        await source.credentials()
        metadata.now += metadata.lifetime_s - 1
        metadata.gate.clear()
        await source.credentials()
        await until(lambda: metadata.asked == 2)
        await source.aclose()
        await source.aclose()
        names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]  # every task here has a coroutine
        assert "CvmRoleCredentials._fetch" not in names


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"Code":"Failed"}',
        b'{"TmpSecretId":null,"TmpSecretKey":"tmp-secret-of-the-role","Token":"t","ExpiredTime":9}',
        b'{"TmpSecretId":"i","TmpSecretKey":"tmp-secret-of-the-role","Token":"t","ExpiredTime":"x"}',
        b'{"TmpSecretId":"i","TmpSecretKey":"tmp-secret-of-the-role","Token":"t"}',
        b'{"TmpSecretId":"i","TmpSecretKey":"","Token":"t","ExpiredTime":2000000000}',
        b"x" * 1_000_000,
    ],
)
async def test_an_answer_that_is_none_is_an_error_without_its_content(answer: bytes) -> None:
    metadata = Metadata()
    metadata.answer = lambda: answer
    async with role_of(metadata) as source:
        with pytest.raises(CredentialsError) as caught:
            await source.credentials()
    assert caught.value.code == "NoCredentials"
    assert caught.value.hint and "--emulator" in caught.value.hint
    assert SECRET not in f"{caught.value!r}{caught.value}"


async def test_without_a_metadata_server_there_are_no_credentials() -> None:
    source = CvmRoleCredentials(url="http://127.0.0.1:1/", timeout_s=1.0)
    with pytest.raises(CredentialsError, match="no credentials were found"):
        await source.credentials()
    await source.aclose()


async def test_a_metadata_server_that_never_answers_is_given_up() -> None:
    metadata = Metadata()
    metadata.gate.clear()
    async with role_of(metadata, timeout_s=0.05) as source:
        with pytest.raises(CredentialsError):
            await source.credentials()
