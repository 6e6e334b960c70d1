"""Everything a network can do to a call, on a new connection and on one that was used before.

Each row ends in one class, within its deadline and its attempts, over real sockets.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest

import batchkms
from batchkms.kms.endpoint import parse_endpoint
from batchkms.records import ErrorClass
from tests.kms.servers import Seen, http, listening, read_request
from tests.kms.transports import Kind

ATTEMPTS = 3
DEADLINE_S = 2.0
TIMEOUT_S = 0.3
ROWS = 4
"""Fewer than make an outage: each row is to be judged alone."""

Mishap = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _good(number: int) -> bytes:
    fields = {"CiphertextBlob": "A==-k-A==-k-A==", "KeyId": "k", "RequestId": f"r-{number}"}
    return http(orjson.dumps({"Response": fields}))


def _sending(data: bytes, *, then_close: bool = True) -> Mishap:
    async def mishap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if then_close:
            writer.close()

    return mishap


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    socket = writer.get_extra_info("socket")
    # Zero seconds of lingering: the close is a reset.
    socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _reset_inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_good(0)[:60])
    await writer.drain()
    await _reset(reader, writer)


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def _slow_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in _good(0):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


def _answered(document: object, *, status: str = "200 OK") -> Mishap:
    return _sending(http(orjson.dumps(document), status=status), then_close=False)


MISHAPS: dict[str, tuple[Mishap, ErrorClass]] = {
    "closed before the answer": (_sending(b""), ErrorClass.NETWORK),
    "reset before the answer": (_reset, ErrorClass.NETWORK),
    "reset inside the answer": (_reset_inside, ErrorClass.NETWORK),
    "closed inside the answer": (_sending(_good(0)[:60]), ErrorClass.NETWORK),
    "body cut short": (_sending(_good(0)[:-9]), ErrorClass.NETWORK),
    "hang": (_hang, ErrorClass.NETWORK),
    "slow bytes": (_slow_bytes, ErrorClass.NETWORK),
    "no HTTP": (_sending(b"SSH-2.0-OpenSSH_9.2\r\n"), ErrorClass.PROTOCOL),
    "no JSON": (_sending(http(b"<html>hello</html>"), then_close=False), ErrorClass.PROTOCOL),
    "no Response": (_answered({"ok": True}), ErrorClass.PROTOCOL),
    "no RequestId": (_answered({"Response": {"CiphertextBlob": "A"}}), ErrorClass.PROTOCOL),
    "malformed RequestId": (
        _answered({"Response": {"CiphertextBlob": "A", "KeyId": "k", "RequestId": {"a": 1}}}),
        ErrorClass.PROTOCOL,
    ),
    "502": (
        _sending(http(b"bad gateway", status="502 Bad Gateway"), then_close=False),
        ErrorClass.INTERNAL,
    ),
    "503": (
        _sending(http(b"", status="503 Service Unavailable"), then_close=False),
        ErrorClass.INTERNAL,
    ),
    "429": (
        _sending(http(b"", status="429 Too Many Requests"), then_close=False),
        ErrorClass.THROTTLED,
    ),
    "403": (_sending(http(b"", status="403 Forbidden"), then_close=False), ErrorClass.PROTOCOL),
}


@asynccontextmanager
async def _server(mishap: Mishap, *, reused: bool) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that does this to requests, after one good answer a connection if `reused`."""
    numbers = [0]

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        good = reused
        while True:
            await read_request(reader, Seen())
            numbers[0] += 1
            if good:
                good = False
                writer.write(_good(numbers[0]))
                await writer.drain()
                continue
            await mishap(reader, writer)
            if writer.is_closing():
                return

    async with listening(peer) as port:
        yield port, numbers


def _client(kind: Kind, port: int) -> batchkms.KmsClient:
    endpoint = parse_endpoint(f"http://127.0.0.1:{port}")
    return batchkms.KmsClient(
        region="r",
        endpoint=endpoint,
        credentials=batchkms.StaticCredentials(batchkms.Credentials("EXAMPLE", "example")),
        transport=kind(endpoint, timeout_s=TIMEOUT_S),
    )


async def _results(kms: batchkms.KmsClient) -> list[batchkms.Result]:
    records = [batchkms.Record(seq=seq, id=str(seq), plaintext=b"x") for seq in range(1, ROWS + 1)]
    retry = batchkms.RetryPolicy(
        max_attempts=ATTEMPTS, base_s=0.01, deadline_s=DEADLINE_S, attempt_timeout_s=TIMEOUT_S
    )
    encrypt = batchkms.Encrypt(kms, key_id="k")
    return [result async for result in batchkms.bulk(encrypt, records, rate=None, retry=retry)]


@pytest.mark.parametrize("name", MISHAPS)
@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
async def test_every_mishap_ends_in_its_class_in_time(kind: Kind, name: str, reused: bool) -> None:
    mishap, expected = MISHAPS[name]
    async with _server(mishap, reused=reused) as (port, numbers), _client(kind, port) as kms:
        if reused:
            # The connections that the rows will find in the pool.
            await asyncio.gather(*(kms.encrypt("k", b"x") for _ in range(ROWS)))
        called, began = numbers[0], time.monotonic()
        results = await _results(kms)
        assert time.monotonic() - began < DEADLINE_S + 1
        assert sorted(result.seq for result in results) == list(range(1, ROWS + 1))
        for result in results:
            assert 1 <= result.attempts <= ATTEMPTS
            # On a new connection after the mishap the server answers well.
            assert (
                result.ok
                if reused and result.error_class is None
                else (result.error_class is expected)
            ), result
        assert sum(result.attempts for result in results) >= numbers[0] - called


async def test_nobody_listens(kind: Kind) -> None:
    async with _server(_hang, reused=False) as (port, _):
        pass
    async with _client(kind, port) as kms:
        results = await _results(kms)
    assert {(result.error_class, result.code) for result in results} == {
        (ErrorClass.NETWORK, "ConnectionRefused")
    }
    assert {result.attempts for result in results} == {ATTEMPTS}
