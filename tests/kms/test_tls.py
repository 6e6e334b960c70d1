"""TLS is always verified, with the system's CAs or one's own, also through a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from batchkms.errors import ConfigError, KmsError, Scope
from batchkms.kms.aiohttptransport import AiohttpTransport
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.transport import Transport
from tests.kms.servers import (
    Seen,
    answering,
    as_it_is,
    connect_proxy,
    http,
    listening,
    read_request,
)
from tests.kms.transports import Kind

ANSWER = http(b"{}")


@dataclass(frozen=True)
class Authority:
    """A CA of our own, its PEM file, and what it issued for one name."""

    ca: trustme.CA
    file: str

    def server(self, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Authority(ca, str(file))


@asynccontextmanager
async def transport_to(
    kind: Kind, port: int, *, ca_file: str | None = None, proxy: str | None = None
) -> AsyncIterator[Transport]:
    options: dict[str, Any] = {"ca_file": ca_file, "timeout_s": 5}
    if proxy is not None:
        options["proxy"] = proxy
    transport = kind(parse_endpoint(f"https://127.0.0.1:{port}"), **options)
    try:
        yield transport
    finally:
        await transport.aclose()
        await asyncio.sleep(0)


async def failure(
    kind: Kind, port: int, *, ca_file: str | None = None, proxy: str | None = None
) -> KmsError:
    async with transport_to(kind, port, ca_file=ca_file, proxy=proxy) as transport:
        with pytest.raises(KmsError) as caught:
            await transport.post({}, b"{}", as_it_is)
    return caught.value


async def test_a_certificate_of_our_ca_is_accepted(kind: Kind, authority: Authority) -> None:
    async with (
        answering(ANSWER, tls=authority.server()) as (port, seen),
        transport_to(kind, port, ca_file=authority.file) as transport,
    ):
        assert (await transport.post({}, b"secret", as_it_is)).body == b"{}"
    assert seen.bodies == [b"secret"]


async def test_a_ca_that_nobody_knows_stops_the_run_before_anything_is_sent(
    kind: Kind,
    authority: Authority,
) -> None:
    async with answering(ANSWER, tls=authority.server()) as (port, seen):
        error = await failure(kind, port)
    assert error.code == "TlsVerificationFailed"
    assert (error.verdict.retryable, error.verdict.scope) == (False, Scope.RUN)
    assert error.hint and "--ca-file" in error.hint
    assert seen.heads == []


async def test_a_certificate_for_another_name_is_refused(kind: Kind, authority: Authority) -> None:
    async with answering(ANSWER, tls=authority.server("kms.example")) as (port, seen):
        error = await failure(kind, port, ca_file=authority.file)
    assert error.code == "TlsVerificationFailed"
    assert "127.0.0.1" in error.message
    assert seen.heads == []


async def test_a_certificate_that_has_expired_is_refused(kind: Kind, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    authority.ca.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    async with answering(ANSWER, tls=context) as (port, seen):
        error = await failure(kind, port, ca_file=authority.file)
    assert "certificate has expired" in error.message
    assert (error.code, error.verdict.scope) == ("TlsVerificationFailed", Scope.RUN)
    assert seen.bodies == []


async def test_a_server_that_does_not_speak_tls(kind: Kind, authority: Authority) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with listening(peer) as port:
        error = await failure(kind, port, ca_file=authority.file)
    assert error.code == "TlsFailure"
    assert error.verdict.retryable


async def test_old_tls_is_refused(kind: Kind, authority: Authority) -> None:
    context = authority.server()
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with answering(ANSWER, tls=context) as (port, seen):
        error = await failure(kind, port, ca_file=authority.file)
    assert error.code in ("TlsFailure", "ConnectFailed")
    assert seen.heads == []


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
async def test_a_ca_file_that_cannot_be_used(
    kind: Kind, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="--ca-file") as caught:
        kind(parse_endpoint("https://kms.example"), ca_file=str(file))
    assert str(file) in str(caught.value)
    assert caught.value.hint and "PEM" in caught.value.hint


# -- Proxies ---------------------------------------------------------------------------------


async def test_a_proxy_carries_tls_and_sees_nothing_of_it(authority: Authority) -> None:
    async with (
        answering(ANSWER, tls=authority.server()) as (port, seen),
        connect_proxy() as (proxy_port, proxy),
        transport_to(
            AiohttpTransport, port, ca_file=authority.file, proxy=f"http://127.0.0.1:{proxy_port}"
        ) as transport,
    ):
        assert (
            await transport.post({"X-TC-Token": "the-token"}, b"secret", as_it_is)
        ).status == 200
    assert proxy.heads[0][0] == f"CONNECT 127.0.0.1:{port} HTTP/1.1"
    assert "the-token" not in str(proxy.heads)
    assert seen.bodies == [b"secret"]


async def test_a_certificate_is_verified_through_a_proxy_too(authority: Authority) -> None:
    async with (
        answering(ANSWER, tls=authority.server()) as (port, seen),
        connect_proxy() as (proxy_port, _),
    ):
        error = await failure(AiohttpTransport, port, proxy=f"http://127.0.0.1:{proxy_port}")
    assert error.code == "TlsVerificationFailed"
    assert seen.heads == []


async def test_a_proxy_that_refuses() -> None:
    async with connect_proxy(refuse=True) as (proxy_port, _):
        error = await failure(AiohttpTransport, 443, proxy=f"http://127.0.0.1:{proxy_port}")
    assert error.code == "ProxyFailure"


async def test_a_proxy_that_is_not_there() -> None:
    error = await failure(AiohttpTransport, 443, proxy="http://127.0.0.1:1")
    assert error.code == "ProxyFailure"


async def test_a_proxy_that_hangs_up(authority: Authority) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader, Seen())

    async with listening(peer) as proxy_port:
        error = await failure(AiohttpTransport, 443, proxy=f"http://127.0.0.1:{proxy_port}")
    assert error.code == "ConnectionReset"


@pytest.mark.parametrize(
    "proxy", ["", "127.0.0.1:3128", "socks5://127.0.0.1:1080", "http://", "http://[::1", "a b"]
)
async def test_a_proxy_that_no_url_names_is_refused_at_once(proxy: str) -> None:
    with pytest.raises(ConfigError, match="--proxy") as caught:
        AiohttpTransport(parse_endpoint("https://kms.example"), proxy=proxy)
    assert caught.value.hint and "http://" in caught.value.hint


async def test_the_password_of_a_proxy_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        AiohttpTransport(parse_endpoint("https://kms.example"), proxy="ftp://u:pass-word@p:1")
    assert "pass-word" not in f"{caught.value!r}"
    error = await failure(AiohttpTransport, 443, proxy="http://u:pass-word@127.0.0.1:1")
    assert "pass-word" not in f"{error!r}"
