"""Which transport a name gives, and what a client makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.errors import ConfigError
from batchkms.kms.aiohttptransport import AiohttpTransport
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.headers import SignedHeaders
from batchkms.kms.http1.requests import RequestTemplate
from batchkms.kms.http1.transport import WireTransport
from batchkms.kms.transports import TransportKind, transport_to
from tests.kms.servers import answering, as_it_is, http
from tests.kms.transports import Kind

PROXY = "http://127.0.0.1:3128"


@pytest.mark.parametrize(
    ("kind", "proxy", "expected"),
    [
        ("auto", None, WireTransport),
        ("auto", PROXY, AiohttpTransport),
        ("wire", None, WireTransport),
        ("aiohttp", None, AiohttpTransport),
        ("aiohttp", PROXY, AiohttpTransport),
    ],
)
async def test_auto_takes_aiohttp_where_there_is_a_proxy(
    kind: TransportKind, proxy: str | None, expected: type
) -> None:
    transport = transport_to(parse_endpoint("https://kms.example"), kind, proxy=proxy)

    assert type(transport) is expected
    await transport.aclose()


async def test_the_wire_goes_through_no_proxy() -> None:
    with pytest.raises(ConfigError) as refused:
        transport_to(parse_endpoint("https://kms.example"), "wire", proxy=PROXY)

    assert "wire goes through no proxy" in str(refused.value)
    assert "--transport" in (refused.value.hint or "")


@pytest.mark.parametrize("token", [None, "a-token"])
async def test_both_send_the_same_request(token: str | None) -> None:
    sent = []
    for kind in ("aiohttp", "wire"):
        async with answering(http(b"{}")) as (port, seen), _client(port, kind, token) as kms:
            with pytest.raises(Exception, match="Response"):
                await kms.encrypt("k", b"secret")
        names = ["content-type", "content-length", "x-tc-action", "x-tc-version", "x-tc-region"]
        names += ["x-tc-timestamp", "x-tc-token", "x-tc-language", "user-agent"]
        head = {name: seen.header(name) for name in names}
        sent.append((head, [len(signed) for signed in seen.header("authorization")], seen.bodies))

    assert sent[0] == sent[1]


def _client(port: int, kind: Any, token: str | None) -> KmsClient:
    return KmsClient(
        region="r",
        endpoint=f"http://127.0.0.1:{port}",
        credentials=StaticCredentials(Credentials("EXAMPLE", "example", token)),
        transport=kind,
        wall_clock=lambda: 1_551_113_065.0,
    )


async def test_signed_headers_go_over_every_transport(kind: Kind) -> None:
    shared = {"Host": "kms.example", "X-Same": "1"}
    headers = SignedHeaders(shared, RequestTemplate(shared), [("X-Own", "2")])
    async with answering(http(b"{}")) as (port, seen):
        transport = kind(parse_endpoint(f"http://127.0.0.1:{port}"))
        await transport.post(headers, b"body", as_it_is)
        await transport.aclose()

    assert [seen.header(name) for name in ("host", "x-same", "x-own")] == [
        *(["kms.example"], ["1"], ["2"])
    ]
    assert seen.bodies == [b"body"]


def test_signed_headers_are_a_mapping_that_does_not_show_values() -> None:
    headers = SignedHeaders({"A": "1"}, RequestTemplate({"A": "1"}), [("X-TC-Token", "secret")])

    assert dict(headers) == {"A": "1", "X-TC-Token": "secret"}
    assert len(headers) == 2
    assert "secret" not in repr(headers)
