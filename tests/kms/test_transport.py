"""The transport over real sockets: what an endpoint may be, and what every mishap becomes."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from batchkms.errors import KmsError, NetworkError, ProtocolError
from batchkms.kms import transport as module
from batchkms.kms.endpoint import Endpoint, parse_endpoint
from batchkms.kms.transport import MAX_ANSWER_BYTES, Transport
from tests.kms.servers import Peer, Seen, answering, as_it_is, http, listening, read_request
from tests.kms.transports import Kind

HEADERS = {"Host": "kms.example", "X-TC-Token": "the-token", "Content-Type": "application/json"}
BODY = b'{"Plaintext":"cGxhaW4tdGV4dA=="}'


@asynccontextmanager
async def transport_to(kind: Kind, port: int, **options: Any) -> AsyncIterator[Transport]:
    transport = kind(parse_endpoint(f"http://127.0.0.1:{port}"), **options)
    try:
        yield transport
    finally:
        await transport.aclose()


async def failure(kind: Kind, port: int, **options: Any) -> KmsError:
    """The error of one call, checked to tell nothing of what was sent."""
    async with transport_to(kind, port, **options) as transport:
        with pytest.raises(KmsError) as caught:
            await transport.post(HEADERS, BODY, as_it_is)
    shown = "".join(traceback.format_exception(caught.value))
    chain: BaseException | None = caught.value
    while chain is not None:
        shown += f"{chain!r}"
        chain = chain.__cause__
    assert "the-token" not in shown
    assert "cGxhaW4tdGV4dA" not in shown
    return caught.value


# -- Answers ---------------------------------------------------------------------------------


async def test_what_is_sent_and_what_comes_back(kind: Kind) -> None:
    async with answering(http(b'{"a":1}')) as (port, seen), transport_to(kind, port) as transport:
        answer = await transport.post(HEADERS, BODY, as_it_is)
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert seen.heads[0][0] == "POST / HTTP/1.1"
    assert seen.bodies == [BODY]
    assert seen.header("Host") == ["kms.example"]
    # Nothing but what was given and what HTTP itself needs.
    names = {line.partition(":")[0].lower() for line in seen.heads[0][1:]}
    assert names == {"host", "x-tc-token", "content-type", "content-length"}


@pytest.mark.parametrize(
    "status", ["200 OK", "400 Bad Request", "429 Too Many", "500 Internal", "503 Unavailable"]
)
async def test_any_status_is_an_answer(kind: Kind, status: str) -> None:
    async with (
        answering(http(b"body", status=status)) as (port, _),
        transport_to(kind, port) as transport,
    ):
        answer = await transport.post(HEADERS, BODY, as_it_is)
    assert (answer.status, answer.body) == (int(status[:3]), b"body")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(kind: Kind, status: str) -> None:
    async with answering(http(b"")) as (other_port, other):
        location = f"Location: http://127.0.0.1:{other_port}/\r\n"
        redirect = http(b"", status=status, more=location)
        async with answering(redirect) as (port, seen), transport_to(kind, port) as transport:
            answer = await transport.post(HEADERS, BODY, as_it_is)
    assert answer.status == int(status[:3])
    assert (len(seen.heads), other.connections) == (1, 0)


async def test_cookies_are_not_kept(kind: Kind) -> None:
    more = "Set-Cookie: a=b; Path=/\r\n"
    async with (
        answering(http(b"", more=more)) as (port, seen),
        transport_to(kind, port) as transport,
    ):
        await transport.post(HEADERS, BODY, as_it_is)
        await transport.post(HEADERS, BODY, as_it_is)
    assert seen.header("Cookie") == []
    assert seen.connections == 1, "the connection was used again"


async def test_proxies_of_the_environment_are_not_used(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(http(b"by the proxy")) as (proxy_port, proxy):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
        async with answering(http(b"direct")) as (port, _), transport_to(kind, port) as transport:
            assert (await transport.post(HEADERS, BODY, as_it_is)).body == b"direct"
    assert proxy.connections == 0


@pytest.mark.parametrize(
    ("size", "fits"), [(MAX_ANSWER_BYTES, True), (MAX_ANSWER_BYTES + 1, False)]
)
async def test_the_longest_answer(kind: Kind, size: int, fits: bool) -> None:
    async with answering(http(b"x" * size)) as (port, _):
        if fits:
            async with transport_to(kind, port) as transport:
                assert len((await transport.post(HEADERS, BODY, as_it_is)).body) == size
        else:
            error = await failure(kind, port)
            assert (type(error), error.code) == (ProtocolError, "AnswerTooLong")


async def test_an_endless_answer_is_given_up(kind: Kind) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader, Seen())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    assert (await _failure_of(kind, peer)).code == "AnswerTooLong"


# -- Mishaps ---------------------------------------------------------------------------------


async def _failure_of(kind: Kind, peer: Peer, **options: Any) -> KmsError:
    async with listening(peer) as port:
        return await failure(kind, port, **options)


async def test_connection_refused(kind: Kind) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(kind, unused.getsockname()[1])
    assert (type(error), error.code) == (NetworkError, "ConnectionRefused")
    assert "127.0.0.1" in error.message


async def test_a_host_that_does_not_exist(kind: Kind) -> None:
    transport = kind(Endpoint("http", "no-such-host.invalid"))
    with pytest.raises(NetworkError) as caught:
        await transport.post(HEADERS, BODY, as_it_is)
    await transport.aclose()
    assert caught.value.code == "DnsFailure"


async def test_no_connection_within_the_connect_timeout(kind: Kind) -> None:
    # A listener whose queue is full answers no further handshake.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        error = await failure(kind, full.getsockname()[1], connect_timeout_s=0.05, timeout_s=5)
    assert (type(error), error.code) == (NetworkError, "ConnectTimeout")


async def test_no_answer_within_the_timeout(kind: Kind) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    error = await _failure_of(kind, peer, timeout_s=0.05)
    assert (type(error), error.code) == (NetworkError, "AttemptTimeout")
    assert "0.05 s" in error.message


async def test_an_answer_that_trickles_is_cut_by_the_whole_timeout(kind: Kind) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader, Seen())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert (await _failure_of(kind, peer, timeout_s=0.1)).code == "AttemptTimeout"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
async def test_an_answer_that_breaks_off(kind: Kind, sent: bytes) -> None:
    async with answering(sent, close=True) as (port, _):
        error = await failure(kind, port)
    assert (type(error), error.code) == (NetworkError, "ConnectionReset")


async def test_a_reset(kind: Kind) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader, Seen())
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, 0 s: closing sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    assert (await _failure_of(kind, peer)).code == "ConnectionReset"


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n",
        # Whatever it quotes of the request must not be repeated.
        b"cGxhaW4tdGV4dA== the-token\r\n\r\n",
    ],
)
async def test_what_is_no_http(kind: Kind, sent: bytes) -> None:
    async with answering(sent, close=True) as (port, _):
        error = await failure(kind, port)
    assert (type(error), error.code) == (ProtocolError, "InvalidAnswer")


async def test_an_idle_connection_is_not_used_again(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.IDLE_CONNECTION_S < 60, "what the server allows"
    monkeypatch.setattr(module, "IDLE_CONNECTION_S", 0.02)
    async with answering(http(b"")) as (port, seen), transport_to(kind, port) as transport:
        await transport.post(HEADERS, BODY, as_it_is)
        await transport.post(HEADERS, BODY, as_it_is)
        assert seen.connections == 1
        await asyncio.sleep(0.05)
        await transport.post(HEADERS, BODY, as_it_is)
        assert seen.connections == 2


async def test_the_pool_is_no_hidden_queue(kind: Kind) -> None:
    arrived = 0
    everybody = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await read_request(reader, Seen())
        arrived += 1
        if arrived == 90:
            everybody.set()
        await everybody.wait()
        writer.write(http(b""))
        await writer.drain()

    async with listening(peer) as port, transport_to(kind, port, timeout_s=5) as transport:
        calls = [transport.post(HEADERS, BODY, as_it_is) for _ in range(90)]
        assert len(await asyncio.gather(*calls)) == 90
